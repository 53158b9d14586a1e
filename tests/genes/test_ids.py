"""Ids that are none, ids in disguise, versions on either side: what is taken, what is left out, what is said."""

import re
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest
from h5ads import write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from odd_ids import NO_IDS, NUMBERS, ODD_IDS
from tables import ROW_COUNTS, record_of

from median_spark import AttributeNames, ReadOptions, inspect, read_gene_map, read_gene_table
from median_spark.errors import GeneTableError, InputError, TableError
from median_spark.expression import require_uniform
from median_spark.genes import (
    GeneMap,
    GeneTable,
    RowCounts,
    coverage_warning,
    is_no_id,
    select_genes,
    spelling_warnings,
)
from median_spark.genes.ids import respelled
from median_spark.matrices import Unit, open_matrix, outline, read_unit, select_rows
from median_spark.matrices.tables import as_strings
from median_spark.options import Style, worded
from median_spark.verification.naming import Naming

CODING, MIRNA, LNC = "protein_coding", "miRNA", "lncRNA"
HUMAN = [f"ENSG{number:011d}" for number in range(3, 23)]
TABLE = GeneTable("genes.csv", dict.fromkeys(HUMAN, CODING))
VERSIONED = GeneTable("versions.csv", {f"{gene}.{place + 1}": CODING for place, gene in enumerate(HUMAN)})

DISGUISES = {
    "10x": ("GRCh38_{}", r"more around them \('GRCh38_…'\).* gene_map a CSV .* such as GRCh38_(ENSG\d+),\1"),
    "10x, two genomes": ("GRCh38______{}", r"\('GRCh38______…'\)"),
    "hg19": ("hg19_{}", r"\('hg19_…'\).*gene_map"),
    "Seurat": ("GRCh38-{}", r"\('GRCh38-…'\)"),
    "symbol after": ("{}_TP53", r"\('…_TP53'\)"),
    "symbol before": ("TP53|{}.4", r"\('TP53\|…'\)"),
    "lower case": ("{lower}", r"Ensembl ids in lower case: .*gene_map a CSV .* such as (ENSG\d+),\1; "),
    "blank after": ("{} ", r"\('… '\).*gene_map"),
    "lower case, prefix": ("grch38_{lower}", r"\('grch38_…'\).* such as grch38_ensg(\d+),ENSG\1"),
}

MATCHED = {
    "10x": ("prefix",),
    "10x, two genomes": ("prefix",),
    "hg19": ("prefix",),
    "Seurat": ("prefix",),
    "lower case": ("case",),
    "lower case, prefix": ("prefix", "case"),
}
"""Of these, those that a gene table settles, and in what they differ from its ids."""

UNMATCHED = [name for name in DISGUISES if name not in MATCHED]


def disguised(name, genes=HUMAN):
    return [DISGUISES[name][0].format(gene, lower=gene.lower()) for gene in genes]


def select(ids, own=None, table=None, gene_map=None, **more):
    own = None if own is None else np.array(own, dtype=np.str_)
    return select_genes("study.loom", np.array(ids, dtype=np.str_), own, table, (CODING, MIRNA), gene_map, **more)


def seen_of(path, **options):
    read = ReadOptions(**options)
    with open_matrix(path, read.names) as matrix:
        return outline(matrix, read)


def values_of(path, **options):
    """Return the values of each gene of a matrix, as a task reads them."""
    read = ReadOptions(**options)
    with open_matrix(path, read.names) as matrix:
        runs, _ = read_unit(matrix, select_rows(matrix, read), Unit(0, 0, matrix.shape[1]), read)
    return {gene: runs.of_gene(place).tolist() for place, gene in enumerate(runs.genes.tolist())}


class TestIsNoId:
    @pytest.mark.parametrize("text", NO_IDS)
    def test_what_is_none_is_known_with_blanks_around_it(self, text):
        assert is_no_id(text)
        assert is_no_id(f" {text}\t")

    @pytest.mark.parametrize("text", [*ODD_IDS, *HUMAN, "ENSG1.2", "ENSG1.2_PAR_Y", *disguised("10x")])
    def test_what_only_looks_odd_is_an_id(self, text):
        assert not is_no_id(text)

    @given(st.one_of(st.integers(), st.floats()), st.sampled_from([str, repr, np.float32, np.float64]))
    def test_numbers_are_none_however_they_are_written(self, number, written):
        with np.errstate(over="ignore"):
            assert is_no_id(str(written(number)))

    @pytest.mark.parametrize("text", [text for text in NO_IDS if text not in NUMBERS])
    def test_only_numbers_are_ids_where_these_are_accepted(self, text):
        assert is_no_id(text, numbers_are_ids=True)
        assert not any(is_no_id(number, numbers_are_ids=True) for number in NUMBERS)

    @given(st.lists(st.binary(max_size=8).filter(lambda text: b"\0" not in text), max_size=10))
    def test_bytes_that_are_no_utf_8_stay_apart_and_are_none(self, found):
        texts = as_strings(np.array(found, dtype=object)).tolist()
        for content, text in zip(found, texts, strict=True):
            try:
                assert text == content.decode()
            except UnicodeDecodeError:
                assert is_no_id(text)
        by_text = {}
        for content, text in zip(found, texts, strict=True):
            if b"\\" not in content:
                assert by_text.setdefault(text, content) == content

    @given(st.one_of(st.sampled_from([*NO_IDS, *ODD_IDS, *HUMAN]), st.text(), st.floats().map(str)), st.booleans())
    def test_verification_says_the_same(self, text, mapped):
        own = Naming("study", {}, None)
        assert (own.gene(text) is None) == is_no_id(text)
        if mapped and text.upper():
            found = Naming("study", {}, None)
            found.gene_map = {text.upper(): "ENSG1"}
            assert (found.gene(text) is None) == is_no_id(text, numbers_are_ids=True)
            found.gene_map = {"TP53": text}
            assert (found.gene("tp53") is None) == is_no_id(text)


class TestRowsWithoutId:
    @pytest.mark.parametrize("text", NO_IDS)
    @pytest.mark.parametrize("table", [None, "table"])
    def test_they_are_left_out_and_counted_with_and_without_a_table(self, text, table):
        ids = ["ENSG1", text, "ENSG2", text]
        table = GeneTable("genes.csv", dict.fromkeys(ids, CODING)) if table else None
        selection = select(ids, [CODING] * 4, table)
        assert (selection.genes.tolist(), selection.rows.tolist()) == (["ENSG1", "ENSG2"], [0, 2])
        row_counts = selection.row_counts
        assert (row_counts.no_id_rows, row_counts.no_id_examples) == (2, (text,))
        assert (row_counts.known_rows, row_counts.unknown_rows, row_counts.summed_rows) == (2, 0, 0)

    @pytest.mark.parametrize("text", NO_IDS)
    def test_no_gene_map_makes_them_genes(self, text):
        to_none = GeneMap.from_pairs("map.csv", [("TP53", "ENSG1"), ("ODD", text or "-")])
        selection = select(["tp53", "odd"], [CODING] * 2, gene_map=to_none)
        assert (selection.genes.tolist(), selection.row_counts.no_id_rows) == (["ENSG1"], 1)
        from_none = GeneMap.from_pairs("map.csv", [("TP53", "ENSG1"), (text or "-", "ENSG2")])
        selection = select(["tp53", text], [CODING] * 2, gene_map=from_none)
        assert selection.genes.tolist() == (["ENSG1", "ENSG2"] if text in NUMBERS else ["ENSG1"])
        assert selection.row_counts.no_id_rows == (0 if text in NUMBERS else 1)

    @pytest.mark.parametrize("gene_map", [None, GeneMap("map.csv", {"TP53": "ENSG1"})])
    def test_a_matrix_without_any_id_is_refused(self, gene_map):
        expected = r"^study\.loom: none of its 3 rows has an id .*'1', '2', 'nan': .*AttributeNames\(gene_id=…\)"
        with pytest.raises(InputError, match=expected):
            select(["1", "2", "nan"], [CODING] * 3, gene_map=gene_map)

    def test_they_are_nothing_that_a_gene_table_should_know(self, tmp_path):
        ids = [*HUMAN[:4], *["nan"] * 16]
        path = write_loom(tmp_path / "study.loom", np.ones((20, 30), np.int32), ensembl_id=ids)
        assert seen_of(path, gene_table=TABLE).warnings == ()

    def test_ids_in_latin_1_are_never_summed(self, tmp_path):
        counts = random_counts(np.random.default_rng(1), 4, 50, density=0.7)
        ids = np.array([text.encode("latin-1") for text in ("gé", "gè", "gê", "ENSG1")])
        path = write_loom(tmp_path / "study.loom", counts, ensembl_id=ids)
        found = values_of(path)
        expected = counts[3] / counts.sum(axis=0) * 10_000
        assert found == {"ENSG1": expected[expected > 0].tolist()}
        assert seen_of(path).row_counts.no_id_examples == (r"g\xe9", r"g\xe8", r"g\xea")

    @pytest.mark.parametrize("kind", ["references", "whole numbers", "floats", "truth values"])
    def test_an_attribute_of_something_else_is_no_list_of_ids(self, tmp_path, kind):
        content = {"whole numbers": np.arange(4), "floats": np.arange(4) / 2, "truth values": np.arange(4) > 1}
        path = write_loom(tmp_path / "study.loom", np.ones((4, 30), np.int32), row_other=content.get(kind))
        with h5py.File(path, "r+") as file:
            if kind == "references":
                references = [file["matrix"].ref, file["row_attrs"].ref, file["col_attrs"].ref, h5py.Reference()]
                file.create_dataset("row_attrs/other", data=references, dtype=h5py.ref_dtype)
        said = {"references": "'other' must hold strings or numbers; it holds references"}
        with pytest.raises(
            InputError, match=said.get(kind, r"none of its 4 rows has an id .*AttributeNames\(gene_id=…\)")
        ):
            seen_of(path, names=AttributeNames(gene_id="other"))

    def test_inspect_says_so(self, tmp_path):
        ids = ["ENSG1", "nan", "None", "ENSG2"]
        path = write_loom(tmp_path / "study.loom", np.ones((4, 30), np.int32), ensembl_id=ids)
        assert ("rows left out", "2 whose id is none, such as 'nan', 'None'") in inspect(path)


class TestSpelling:
    def warnings(self, ids, table=None):
        selection = select(ids, [CODING] * len(ids), table)
        warnings = spelling_warnings(selection.row_counts, selection.genes, table)
        return [worded(warning, Style.ARGUMENTS) for warning in warnings]

    @pytest.mark.parametrize("odd", [*ODD_IDS[:-1], "__no_feature", "ENSGx"])
    def test_odd_ids_among_those_of_ensembl_are_named(self, odd):
        (said,) = self.warnings([*HUMAN, odd])
        assert re.match(r"1 of its 21 genes unlike the others, .*gene_table=…", said)
        assert repr(odd) in said

    @pytest.mark.parametrize("ids", [HUMAN, [*HUMAN, "LRG_1"], ["TP53", "ACTB", "7SK", *HUMAN[:3]], ["TP53"]])
    def test_nothing_is_said_of_ids_of_one_kind(self, ids):
        assert self.warnings(ids) == []

    def test_a_gene_table_vouches_for_odd_ids(self):
        table = GeneTable("genes.csv", TABLE.gene_types | {"GFP": CODING})
        assert self.warnings([*HUMAN, "GFP"], table) == []

    @pytest.mark.parametrize("name", DISGUISES)
    def test_ids_in_disguise_are_warned_about_with_the_remedy(self, name):
        (said,) = self.warnings([*disguised(name)[:6], *HUMAN[6:]])
        assert re.search(DISGUISES[name][1], said), said

    def test_versions_are_warned_about(self):
        (said,) = self.warnings([*VERSIONED.gene_types, "ENSG1.1_PAR_Y"])
        assert "strip_version=True" in said

    @pytest.mark.parametrize("name", UNMATCHED)
    def test_ids_in_disguise_are_refused_with_the_remedy(self, name):
        with pytest.raises(InputError, match=rf"none of its 20 gene ids is in the gene table .*{DISGUISES[name][1]}"):
            select(disguised(name), table=TABLE)

    @pytest.mark.parametrize("name", [name for name in DISGUISES if name != "lower case"])
    def test_a_map_that_lacks_them_is_no_reason_to_say_less(self, name):
        with pytest.raises(InputError, match=rf"is in the gene map .*{DISGUISES[name][1]}"):
            select(disguised(name), table=TABLE, gene_map=GeneMap("map.csv", {"TP53": HUMAN[0]}))

    @pytest.mark.parametrize("name", UNMATCHED)
    @pytest.mark.parametrize("kind", ["loom", "h5ad column", "h5ad index"])
    def test_the_remedy_gives_the_values_of_plain_ids(self, tmp_path, name, kind):
        counts = random_counts(np.random.default_rng(5), 20, 40, density=0.5)
        paths = {}
        for folder, ids in (("plain", HUMAN), ("disguised", disguised(name))):
            path = tmp_path / folder / "study"
            path.parent.mkdir()
            if kind == "loom":
                paths[folder] = write_loom(f"{path}.loom", counts, ensembl_id=ids, gene_type=None)
                continue
            named = {"ensembl_id": ids} if kind == "h5ad column" else {"ensembl_id": None, "var_names": ids}
            paths[folder] = write_h5ad(f"{path}.h5ad", counts, gene_type=None, **named)
        with pytest.raises(InputError, match=DISGUISES[name][1]) as refused:
            seen_of(paths["disguised"], gene_table=TABLE)
        # The example that the message gives is a row of a map that works.
        example, plain = re.search(r"such as ([^, ]+),(ENSG\d+)", str(refused.value)).groups()
        assert (example, plain) == (disguised(name)[0].strip(), HUMAN[0])
        pd.DataFrame({"name": disguised(name), "ensembl_id": HUMAN}).to_csv(tmp_path / "map.csv", index=False)
        found = values_of(paths["disguised"], gene_table=TABLE, gene_map=read_gene_map(str(tmp_path / "map.csv")))
        assert found == values_of(paths["plain"], gene_table=TABLE)


class TestMatching:
    """Versions, prefixes and capitals that separate the ids of a matrix from those of a gene table."""

    SPELLINGS: ClassVar = {
        **{name: (disguised(name), kinds) for name, kinds in MATCHED.items()},
        "versions": ([f"{gene}.77" for gene in HUMAN], ("version",)),
        "prefix and versions": ([f"mm10_{gene}.77" for gene in HUMAN], ("prefix", "version")),
        "two species": ([f"{'mm10___' if gene[-1] in '02468' else 'GRCh38_'}{gene}" for gene in HUMAN], ("prefix",)),
        "all of it": ([f"T2T-CHM13v2.0_{gene}.1".lower().replace("t2t-", "") for gene in HUMAN],
                      ("prefix", "case", "version")),
    }  # fmt: skip

    @pytest.mark.parametrize("name", SPELLINGS)
    def test_genes_are_called_as_the_table_calls_them_and_it_is_said(self, name):
        ids, kinds = self.SPELLINGS[name]
        selection = select([*ids, "GFP", "nan"], table=TABLE)
        assert selection.genes.tolist() == HUMAN
        assert selection.rows.tolist() == list(range(20))
        row_counts = selection.row_counts
        assert (row_counts.respelled, row_counts.versions_ignored, row_counts.unknown_examples) == (
            kinds,
            False,
            ("GFP",),
        )
        assert RowCounts.from_json(row_counts.as_json()) == row_counts
        (said,) = spelling_warnings(row_counts, selection.genes, TABLE)
        assert "were matched with " in said
        assert coverage_warning(row_counts, lambda: np.array(ids), TABLE) is None

    @pytest.mark.parametrize("name", SPELLINGS)
    def test_verification_calls_them_the_same(self, name):
        ids, kinds = self.SPELLINGS[name]
        naming = Naming("study", {}, None, kinds)
        assert [naming.gene(gene) for gene in ids] == HUMAN
        assert [naming.gene(gene) for gene in ("GFP", "ENSG1|TP53", "nan")] == ["GFP", "ENSG1|TP53", None]

    @given(st.lists(st.from_regex(r"((GRCh38|mm10|TP53|x|ensg1|a.1)[_-]{1,3})?[Ee][Nn][Ss][Gg]?[0-9]{1,3}(\.[0-9])?"
                                  r"(_PAR_Y|_par_y|_x| )?", fullmatch=True), min_size=1, max_size=6),
           st.sets(st.sampled_from(["prefix", "case", "version"])))  # fmt: skip
    def test_verification_respells_as_the_selection_does(self, ids, kinds):
        found = respelled(np.array(ids), tuple(kinds)).tolist()
        naming = Naming("study", {}, None, tuple(kinds))
        assert [naming.gene(gene) for gene in ids] == found

    def test_versions_are_taken_off_on_both_sides(self):
        selection = select([f"{gene}.77" for gene in HUMAN], table=VERSIONED)
        assert selection.genes.tolist() == HUMAN
        assert (selection.row_counts.respelled, selection.row_counts.versions_ignored) == (("version",), True)

    def test_the_table_s_own_versions_stay_behind_a_prefix(self):
        selection = select([f"GRCh38_{gene}" for gene in VERSIONED.gene_types], table=VERSIONED)
        assert selection.genes.tolist() == sorted(VERSIONED.gene_types)
        assert (selection.row_counts.respelled, selection.row_counts.versions_ignored) == (("prefix",), False)

    def test_ids_that_the_table_has_are_left_as_they_are(self):
        selection = select([HUMAN[0], *(f"{gene}.1" for gene in HUMAN[1:])], table=TABLE)
        assert (selection.genes.tolist(), selection.row_counts.respelled) == (HUMAN[:1], ())
        assert selection.row_counts.other_version_rows == 19
        said = spelling_warnings(selection.row_counts, selection.genes, TABLE)
        assert [worded(text, Style.ARGUMENTS) for text in said] == [
            "19 rows left out, of ids that the gene table has in another version: take versions off on both sides with "
            "ReadOptions(strip_version=True)"
        ]

    def test_other_versions_beside_the_table_s_own_are_told(self):
        own = list(VERSIONED.gene_types)
        row_counts = select([*own[:15], *(f"{gene}.99" for gene in HUMAN[15:]), "ENSG1"], table=VERSIONED).row_counts
        assert (row_counts.known_rows, row_counts.unknown_rows, row_counts.other_version_rows) == (15, 6, 5)

    @pytest.mark.parametrize(
        ("ids", "remedy"),
        [
            (
                [f"{HUMAN[0]}.1", f"{HUMAN[0]}.2"],
                r"with versions ignored: ReadOptions\(strip_version=True\) sums them$",
            ),
            ([f"GRCh38_{HUMAN[0]}", f"hg19_{HUMAN[0]}"], r"with prefixes ignored: gene_map says which to take$"),
            ([f"a1_{HUMAN[0].lower()}.1", f"{HUMAN[0]}.1"], r"with prefixes and case and versions ignored: gene_map"),
        ],
    )
    def test_two_ids_of_one_gene_are_refused_with_the_remedy(self, ids, remedy):
        said = rf"^study\.loom: .* '{ids[0]}' and '{ids[1]}' would both be '{HUMAN[0]}' {remedy}"
        with pytest.raises(InputError, match=said):
            select(ids, table=TABLE)

    def test_stripping_sums_them(self):
        selection = select([f"{HUMAN[0]}.1", f"{HUMAN[0]}.2"], table=TABLE, strip_version=True)
        assert (selection.genes.tolist(), selection.gene_of_row.tolist()) == ([HUMAN[0]], [0, 0])

    def test_many_prefixes_are_no_names_of_assemblies(self):
        with pytest.raises(InputError, match="more around them"):
            select([f"TP{number}_{gene}" for number, gene in enumerate(HUMAN)], table=TABLE)

    def test_with_a_gene_map_ids_are_its_own(self):
        gene_map = GeneMap.from_pairs("map.csv", [("TP53", f"{HUMAN[0]}.1")])
        with pytest.raises(InputError, match="none of its 1 mapped gene id is in the gene table"):
            select(["TP53"], table=TABLE, gene_map=gene_map)


class TestVersionsInTheTable:
    def test_a_matrix_without_versions_is_matched_without_and_told(self):
        selection = select([*HUMAN, "ENSG99"], table=VERSIONED)
        assert selection.genes.tolist() == HUMAN
        assert (selection.row_counts.versions_ignored, selection.row_counts.unknown_examples) == (True, ("ENSG99",))
        assert "matched without versions" in spelling_warnings(selection.row_counts, selection.genes, VERSIONED)[0]

    def test_a_matrix_with_the_table_s_own_versions_keeps_them(self):
        selection = select(list(VERSIONED.gene_types), table=VERSIONED)
        assert selection.genes.tolist() == sorted(VERSIONED.gene_types)
        assert not selection.row_counts.versions_ignored
        assert spelling_warnings(selection.row_counts, selection.genes, VERSIONED) == []

    def test_stripping_takes_them_off_on_both_sides(self):
        options = ReadOptions(gene_table=VERSIONED, strip_version=True)
        assert options.gene_table.gene_types == TABLE.gene_types
        assert options.as_json()["gene_table"] == TABLE.fingerprint()
        mixed = [f"{gene}.77" for gene in HUMAN[:9]] + HUMAN[9:]
        assert select(mixed, table=options.gene_table, strip_version=True).genes.tolist() == HUMAN

    def test_a_table_without_versions_is_itself(self):
        assert TABLE.without_versions is TABLE
        assert ReadOptions(gene_table=TABLE, strip_version=True).gene_table is TABLE
        assert TABLE.fingerprint() == "a777a6bfc5184a9a"

    def test_versions_of_one_type_are_one_gene_and_of_two_types_are_refused(self):
        same = GeneTable("same.csv", {"ENSG1.1": CODING, "ENSG1.2": CODING, "ENSG2": LNC})
        assert same.without_versions.gene_types == {"ENSG1": CODING, "ENSG2": LNC}
        two = GeneTable("two.csv", {"ENSG1.1": CODING, "ENSG1.2": LNC, "ENSG2.1": CODING})
        with pytest.raises(InputError, match=r"^study\.loom: .*two\.csv: 1 gene id with more than one gene_type"):
            select(["ENSG1", "ENSG2"], table=two)
        with pytest.raises(GeneTableError, match=r"two\.csv: .* once versions are taken off: 'ENSG1': keep one"):
            ReadOptions(gene_table=two, strip_version=True)
        assert select(["ENSG1.1", "ENSG1.2"], table=two).genes.tolist() == ["ENSG1.1"]

    def test_names_for_people_are_found_with_and_without_versions(self, tmp_path):
        (tmp_path / "genes.csv").write_text("ensembl_id,gene_name,gene_type\nENSG1.2,TP53,miRNA\nENSG2,X,miRNA\n")
        names = {"ENSG1.2": "TP53", "ENSG1": "TP53", "ENSG2": "X"}
        assert read_gene_table(str(tmp_path / "genes.csv")).gene_names == names

    def test_sources_with_and_without_them_are_not_pooled(self):
        stored = ROW_COUNTS.as_json()
        del stored["versions_ignored"]  # as in old records

        def record(name, **more):
            return record_of(name, row_counts=RowCounts.from_json(stored | more))

        old, with_versions = record("old"), record("b", versions_ignored=False)
        require_uniform("table", [old, with_versions])
        require_uniform("table", [record("a", versions_ignored=True)])
        with pytest.raises(
            TableError, match=r"of 'old', 'b', but not those of 'a': .*ReadOptions\(strip_version=True\)"
        ):
            require_uniform("table", [old, with_versions, record("a", versions_ignored=True)])
