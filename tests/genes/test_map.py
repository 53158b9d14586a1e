"""Gene maps and version suffixes: reading a map, and the selection with one against plain Python."""

import collections
import os
import pickle
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from looms import random_counts, write_loom

from median_spark import ReadOptions
from median_spark.errors import GeneMapError, InputError
from median_spark.genes import DEFAULT_GENE_TYPES, GeneMap, GeneTable, coverage_warning, read_gene_map, select_genes
from median_spark.matrices import Unit, open_matrix, outline, read_unit, select_rows
from median_spark.options import Style, worded

CODING, MIRNA, LNC = "protein_coding", "miRNA", "lncRNA"
TABLE = GeneTable("genes.csv", {"ENSG1": CODING, "ENSG2": MIRNA, "ENSG3": LNC})
MAP = GeneMap("map.csv", {"TP53": "ENSG1", "P53": "ENSG1", "ENSG1": "ENSG1", "MIR1": "ENSG2", "XIST": "ENSG3"})


def written(folder, content, name="map.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def select(ids, own=None, table=TABLE, gene_map=MAP, chosen=DEFAULT_GENE_TYPES, **more):
    own = None if own is None else np.array(own, dtype=np.str_)
    return select_genes("study.loom", np.array(ids, dtype=np.str_), own, table, chosen, gene_map, **more)


def rows_by_gene(selection):
    found = {}
    for row, gene in zip(selection.rows.tolist(), selection.gene_of_row.tolist(), strict=True):
        found.setdefault(str(selection.genes[gene]), []).append(row)
    return found


class TestReadGeneMap:
    @pytest.mark.parametrize(
        "content",
        [
            "name,ensembl_id\nTP53,ENSG1\nMIR1,ENSG2\n",
            "gene_name,ensembl_id\r\ntp53,ENSG1\r\nmir1,ENSG2\r\n",
            "\ufeffensembl_id,gene_symbol\nENSG1,Tp53\nENSG2,Mir1\n",
            ",alias,source,ensembl_id\n0,TP53,x,ENSG1\n1,MIR1,y,ENSG2\n",
            "symbol,gene_id\nTP53,ENSG1\nMIR1,ENSG2\n",
            "gene_id,ensembl_id\nTP53,ENSG1\nMIR1,ENSG2\n",
            "name,ensembl_id\nTP53,ENSG1\n,ENSG7\nNOWHERE,\ntp53,ENSG1\nMIR1,ENSG2\n",
        ],
        ids=["plain", "lower case", "other order", "more columns", "gene_id to use", "gene_id found", "gaps, repeats"],
    )
    def test_a_csv_leads_names_in_upper_case_to_ids(self, tmp_path, content):
        assert read_gene_map(written(tmp_path, content)).ids == {"TP53": "ENSG1", "MIR1": "ENSG2"}

    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
    @pytest.mark.parametrize("text", [str, np.str_])
    def test_a_pickled_dict_does(self, tmp_path, protocol, kind, text):
        content = kind({text("tp53"): text("ENSG1"), text("MIR1"): text("ENSG2"), text("gap"): text("")})
        found = read_gene_map(written(tmp_path, pickle.dumps(content, protocol), "map.PKL"))
        assert found.ids == {"TP53": "ENSG1", "MIR1": "ENSG2"}
        assert {type(word) for pair in found.ids.items() for word in pair} == {str}

    def test_names_that_pandas_takes_for_missing_or_for_numbers_are_names(self, tmp_path):
        path = written(tmp_path, "name,ensembl_id\nNA,ENSG1\n007,ENSG2\n")
        assert read_gene_map(path).ids == {"NA": "ENSG1", "007": "ENSG2"}

    def test_a_uri_is_read(self, tmp_path):
        path = written(tmp_path, "name,ensembl_id\nTP53,ENSG1\n")
        assert read_gene_map(f"file://{path}") == GeneMap(path, {"TP53": "ENSG1"})

    @pytest.mark.parametrize("name", ["map.csv", "map.pickle"])
    def test_a_name_with_two_ids_once_in_upper_case_is_refused(self, tmp_path, name):
        pairs = {"Tp53": "ENSG2", "TP53": "ENSG1", "x": "ENSG3", "X": "ENSG4", "y": "ENSG5"}
        rows = "".join(f"{name},{gene}\n" for name, gene in pairs.items())
        content = f"name,ensembl_id\n{rows}" if name.endswith("csv") else pickle.dumps(pairs)
        expected = rf"^{tmp_path}/{name}: 2 names .* more than one id.*: 'TP53', 'X'; 'TP53' has 'ENSG1', 'ENSG2': keep"
        with pytest.raises(GeneMapError, match=expected):
            read_gene_map(written(tmp_path, content, name))

    @pytest.mark.parametrize(
        ("header", "missing"),
        [("from,ensembl_id", "the names; .*'from', 'ensembl_id'.*'name'"), ("name,to", "the ids to use; .*'gene_id'")],
    )
    def test_a_missing_column_is_named_with_those_that_are_there(self, tmp_path, header, missing):
        with pytest.raises(GeneMapError, match=rf"^{tmp_path}/map\.csv: the gene map has no column for {missing}"):
            read_gene_map(written(tmp_path, f"{header}\na,b\n"))

    def test_no_header_is_refused(self, tmp_path):
        with pytest.raises(GeneMapError, match="no column for the ids to use; it has 'TP53', 'ENSG1'"):
            read_gene_map(written(tmp_path, "TP53,ENSG1\nMIR1,ENSG2\n"))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ([("TP53", "ENSG1")], "this pickle holds a list; it must be a dict of name to id"),
            ({"TP53": 1}, "must hold text only; the name 'TP53' has the id 1"),
            ({7: "ENSG1"}, "must hold text only; the name 7 has the id 'ENSG1'"),
            ({}, "the gene map is empty"),
            ({"TP53": ""}, "the gene map is empty"),
        ],
    )
    def test_a_pickle_of_something_else_is_refused(self, tmp_path, content, said):
        with pytest.raises(GeneMapError, match=rf"^{tmp_path}/map\.pkl: .*{said}"):
            read_gene_map(written(tmp_path, pickle.dumps(content), "map.pkl"))

    def test_a_pickle_that_would_run_something_is_refused_by_name_and_not_run(self, tmp_path):
        class Hostile:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "owned"),))

        path = written(tmp_path, pickle.dumps({"TP53": Hostile()}), "map.pkl")
        with pytest.raises(InputError, match=rf"^{path}: .*(posix|os|nt)\.mkdir"):
            read_gene_map(path)
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("kept", [0, 1, 10, -1])
    def test_a_pickle_that_is_cut_off_is_refused(self, tmp_path, kept):
        path = written(tmp_path, pickle.dumps({"TP53": "ENSG1"})[:kept], "map.pkl")
        with pytest.raises(InputError, match=f"^{path}: "):
            read_gene_map(path)

    def test_a_pickle_is_no_csv(self, tmp_path):
        with pytest.raises(GeneMapError, match=r"cannot be read as CSV|has no column"):
            read_gene_map(written(tmp_path, pickle.dumps({"TP53": "ENSG1"})))

    @pytest.mark.parametrize("name", ["none.csv", "none.pkl"])
    def test_a_map_that_is_not_there_is_named(self, tmp_path, name):
        with pytest.raises(GeneMapError, match=rf"^{tmp_path}/{name}: the gene map cannot be read.*No such file"):
            read_gene_map(f"{tmp_path}/{name}")


class TestGeneMap:
    def test_its_fingerprint_is_that_of_its_content_in_any_order_and_format(self, tmp_path):
        by_csv = read_gene_map(written(tmp_path, "name,ensembl_id\nTP53,ENSG1\nMIR1,ENSG2\n"))
        by_pickle = read_gene_map(written(tmp_path, pickle.dumps({"mir1": "ENSG2", "tp53": "ENSG1"}), "map.pkl"))
        assert by_csv.fingerprint() == by_pickle.fingerprint()
        assert by_csv.fingerprint() != GeneMap("", {"TP53": "ENSG1", "MIR1": "ENSG3"}).fingerprint()

    @pytest.mark.parametrize("ids", [{"tp53": "ENSG1"}, {"": "ENSG1"}, {"TP53": ""}])
    def test_names_that_could_never_match_are_refused(self, ids):
        with pytest.raises(GeneMapError, match=r"^here: .*GeneMap\.from_pairs"):
            GeneMap("here", ids)

    def test_options_record_it_by_its_fingerprint(self):
        found = ReadOptions(gene_map=MAP, strip_version=True).as_json()
        assert (found["gene_map"], found["strip_version"]) == (MAP.fingerprint(), True)
        assert (ReadOptions().as_json()["gene_map"], ReadOptions().as_json()["strip_version"]) == (None, False)


def as_a_table_spells(names, typed):
    """Return names, all of which a table lacks, in capitals or without versions if it has some then."""
    if not any(name in typed for name in names):
        for spell in (str.upper, lambda name: name.upper().split(".")[0]):
            plain = [spell(name) if name.upper().startswith("ENSG") else name for name in names]
            if any(name in typed for name in plain):
                return plain
    return names


class TestSelection:
    def test_rows_that_the_map_leads_to_one_id_make_one_gene(self):
        selection = select(["TP53", "mir1", "p53", "Ensg1", "XIST"])
        assert rows_by_gene(selection) == {"ENSG1": [0, 2, 3], "ENSG2": [1]}
        assert selection.row_counts.summed_rows == 2

    def test_rows_that_the_map_lacks_are_left_out_and_counted_with_examples(self):
        row_counts = select(["TP53", *"TUVWX", "ENSG2"]).row_counts
        assert (row_counts.unmapped_rows, row_counts.unmapped_examples) == (6, ("T", "U", "V", "W", "X"))
        assert (row_counts.known_rows, row_counts.unknown_rows, row_counts.selected_rows) == (1, 0, 1)

    def test_ids_that_the_map_leads_to_and_the_table_lacks_are_unknown(self):
        row_counts = select(["TP53", "odd"], gene_map=GeneMap("", {"TP53": "ENSG1", "ODD": "ENSG9"})).row_counts
        assert (row_counts.unmapped_rows, row_counts.unknown_rows, row_counts.unknown_examples) == (0, 1, ("ENSG9",))

    def test_the_types_are_those_of_the_rows_and_of_the_mapped_ids(self):
        selection = select(["TP53", "P53", "MIR1", "XIST"], own=[LNC, CODING, CODING, CODING])
        assert rows_by_gene(selection) == {"ENSG1": [1], "ENSG2": [2]}
        assert (selection.row_counts.disputed_rows, selection.row_counts.other_type_rows) == (1, 1)

    def test_without_a_table_the_genes_are_the_mapped_ids(self):
        assert rows_by_gene(select(["P53", "A", "XIST"], own=[CODING] * 3, table=None)) == {"ENSG1": [0], "ENSG3": [2]}

    def test_case_matters_without_a_map(self):
        assert rows_by_gene(select(["ensg1", "ENSG1"], gene_map=None)) == {"ENSG1": [1]}

    @pytest.mark.parametrize("gene_map", [None, GeneMap("", {"ENSG1": "ENSG1"})])
    def test_versions_are_taken_off_before_anything_is_looked_up(self, gene_map):
        selection = select(["ENSG1.12", "ENSG2.3", "ENSG1"], gene_map=gene_map, strip_version=True)
        expected = {"ENSG1": [0, 2]} | ({"ENSG2": [1]} if gene_map is None else {})
        assert rows_by_gene(selection) == expected

    @pytest.mark.parametrize("name", ["RP11-34P13.7", "AC012.3", "ENSG1.2_PAR_Y", "ENSG1.", "2L52.1", ".x", "ENSG1.x"])
    def test_only_versions_of_ensembl_ids_are_taken_off(self, name):
        table = GeneTable("", {name: CODING})
        assert rows_by_gene(select([name], table=table, gene_map=None, strip_version=True)) == {name: [0]}

    @pytest.mark.parametrize("gene", ["ENSG00000123456", "ENSMUSG00000123456", "ENST00000123456"])
    def test_of_any_species(self, gene):
        table = GeneTable("", {gene: CODING})
        assert rows_by_gene(select([f"{gene}.7"], table=table, gene_map=None, strip_version=True)) == {gene: [0]}

    @given(st.data())
    def test_it_sums_what_plain_python_sums(self, data):
        genes, names = ["ENSG1", "ENSG2", "ENSG3", "ENSG4"], ["ENSG1", "ENSG2", "TP53", "P53", "MIR1", "ODD.1"]
        types = st.sampled_from([CODING, MIRNA, LNC])
        cased = st.sampled_from([*names, *map(str.lower, names), "Tp53", "ENSG1.4", "ensg2.11", "ENSG3", "", "other"])
        ids = data.draw(st.lists(cased, min_size=1, max_size=15))
        leads = data.draw(st.none() | st.dictionaries(st.sampled_from(names), st.sampled_from(genes), min_size=1))
        typed = data.draw(st.none() | st.dictionaries(st.sampled_from(genes), types))
        exactly = st.lists(types, min_size=len(ids), max_size=len(ids))
        own = data.draw(exactly if typed is None else st.none() | exactly)
        strip, chosen = data.draw(st.booleans()), data.draw(st.sampled_from([(CODING, MIRNA), (LNC,)]))
        counts = [data.draw(st.lists(st.integers(0, 9), min_size=3, max_size=3)) for _ in ids]

        names = [name.split(".")[0] if strip and name.upper().startswith("ENSG") else name for name in ids]
        if leads is None and typed is not None:
            plain = as_a_table_spells(names, typed)
            assume(
                len({(name, gene) for name, gene in zip(names, plain, strict=True) if gene in typed})
                == len(typed.keys() & set(plain))
            )  # two ids of one gene are refused
            names = plain
        expected, fates = {}, Counter()
        for row, name in enumerate(names):
            gene = name if leads is None else leads.get(name.upper())
            kind = None if typed is None else typed.get(gene)
            if not name:
                fates["no id"] += 1
            elif gene is None:
                fates["unmapped"] += 1
            elif typed is not None and kind is None:
                fates["unknown"] += 1
            elif (typed is not None and kind not in chosen) or (typed is None and own[row] not in chosen):
                fates["other type"] += 1
            elif own is not None and own[row] not in chosen:
                fates["disputed"] += 1
            else:
                fates["selected"] += 1
                sums = expected.setdefault(gene, [0, 0, 0])
                expected[gene] = [a + b for a, b in zip(sums, counts[row], strict=True)]

        table = None if typed is None else GeneTable("genes.csv", typed)
        gene_map = None if leads is None else GeneMap("map.csv", leads)
        if not expected:
            with pytest.raises(InputError, match=r"^study\.loom: no"):
                select(ids, own, table, gene_map, chosen, strip_version=strip)
            return
        selection = select(ids, own, table, gene_map, chosen, strip_version=strip)
        row_counts = selection.row_counts
        found = np.zeros((len(selection.genes), 3), dtype=int)
        np.add.at(found, selection.gene_of_row, np.array(counts)[selection.rows])
        assert dict(zip(selection.genes.tolist(), found.tolist(), strict=True)) == expected
        assert selection.genes.tolist() == sorted(expected)
        assert {
            "unmapped": row_counts.unmapped_rows,
            "unknown": row_counts.unknown_rows,
            "other type": row_counts.other_type_rows,
            "disputed": row_counts.disputed_rows,
            "selected": row_counts.selected_rows,
            "no id": row_counts.no_id_rows,
        } == {fate: fates[fate] for fate in ("unmapped", "unknown", "other type", "disputed", "selected", "no id")}
        without = row_counts.unknown_rows + row_counts.unmapped_rows + row_counts.no_id_rows
        assert row_counts.known_rows + without == row_counts.rows == len(ids)


class TestNothingSelected:
    def test_ids_that_the_map_lacks_are_named_with_what_it_has(self):
        expected = (
            r"none of its 2 gene ids is in the gene map map\.csv; it has 'A', 'B': the map has names such as 'TP53'"
        )
        with pytest.raises(InputError, match=rf"^study\.loom: {expected}"):
            select(["A", "B"])

    def test_versions_are_guessed(self):
        with pytest.raises(InputError, match=r"gene map map\.csv; it has 'ENSG1\.12': .*strip_version=True\)$"):
            select(["ENSG1.12"])

    def test_a_map_to_other_ids_than_the_table_has_is_named(self):
        other = GeneMap("mouse.csv", {"TP53": "ENSMUSG1"})
        expected = r"none of its 1 mapped gene id is in .* genes\.csv; it has 'ENSMUSG1': .* gene map mouse\.csv"
        with pytest.raises(InputError, match=expected):
            select(["tp53", "other"], gene_map=other)


class TestCoverage:
    @pytest.mark.parametrize(
        ("ids", "table", "gene_map", "said"),
        [
            (["TP53", "U"], TABLE, MAP, None),
            (["TP53", "U"], None, MAP, None),
            (["TP53", "U", "V"], TABLE, MAP, r"gene map knows only 1 of its 3 ids \(33%\), not 'U', 'V': the map has"),
            (["TP53", "ENSG2", "ENSG3"], TABLE, MAP, r"not 'ENSG2', 'ENSG3': they are ids that the map leads to: "),
            (["TP53", "ENSG1.2", "ENSG1.3"], TABLE, MAP, r"'ENSG1\.3': .*strip_version=True\)$"),
            (["ENSG1", "ENSG2.2", "ENSG1.3"], TABLE, None, r"gene table knows only 1 of its 3 .*strip_version=True\)$"),
            (
                ["ENSG1", "TP53", "P53"],
                TABLE,
                None,
                r"gene table knows only 1 of its 3 .*AttributeNames\(gene_id=…\).*gene_map=…$",
            ),
            (["ENSG1", "TP53", "P53"], None, None, None),
            (
                ["A", "B", "C"],
                TABLE,
                GeneMap("m", {"A": "ENSG1", "B": "X1", "C": "X2"}),
                r"table .*'X1', 'X2': .* map m",
            ),
        ],
    )
    def test_less_than_half_is_warned_about_with_the_likely_cause(self, ids, table, gene_map, said):
        row_counts = select(ids, [CODING] * len(ids), table, gene_map).row_counts
        found = coverage_warning(row_counts, lambda: np.array(ids), table, gene_map)
        found = None if found is None else worded(found, Style.ARGUMENTS)
        assert (found is None) == (said is None)
        assert said is None or re.search(said, found), found


class TestReading:
    """Through a loom, as a task reads it."""

    IDS = ("ENSG1.4", "tp53", "Mir1", "UNMAPPED_7", "P53", "XIST")

    def loom(self, tmp_path):
        counts = random_counts(np.random.default_rng(3), len(self.IDS), 50, density=0.6)
        return write_loom(tmp_path / "study.loom", counts, ensembl_id=list(self.IDS), gene_type=None), counts

    def test_counts_of_one_id_are_summed_before_they_are_normalised(self, tmp_path):
        path, counts = self.loom(tmp_path)
        options = ReadOptions(gene_table=TABLE, gene_map=MAP, strip_version=True)
        with open_matrix(path, options.names) as matrix:
            runs, _ = read_unit(matrix, select_rows(matrix, options), Unit(0, 0, 50), options)
        assert runs.genes.tolist() == ["ENSG1", "ENSG2"]
        for gene, rows in enumerate(([0, 1, 4], [2])):
            summed = counts[rows].sum(axis=0).astype(np.float64)
            cells = np.flatnonzero(summed)
            assert np.array_equal(runs.of_gene(gene), summed[cells] / counts.sum(axis=0)[cells] * 10_000)

    def test_a_look_at_it_counts_what_is_left_out_and_warns(self, tmp_path):
        path, _ = self.loom(tmp_path)
        few = GeneMap("few.csv", {"TP53": "ENSG1", "ENSG1": "ENSG1"})
        options = ReadOptions(gene_table=TABLE, gene_map=few)
        with open_matrix(path, options.names) as matrix:
            seen = outline(matrix, options)
        assert (seen.row_counts.unmapped_rows, seen.genes.tolist()) == (5, ["ENSG1"])
        assert any("the gene map knows only 1 of its 6 ids (17%)" in warning for warning in seen.warnings)
