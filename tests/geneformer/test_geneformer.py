"""The dictionaries that a tokenizer loads: their contract, what is in them, and a real tokenizer that uses them."""

import importlib.util
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import write_loom
from processes import SUPPORT
from scipy.sparse import csr_matrix
from tables import digests_of, record_of

from median_spark import GeneformerOptions, check_dictionaries
from median_spark.cli import main
from median_spark.errors import UsageError
from median_spark.geneformer import TOKEN_LAYOUTS, geneformer_dictionaries
from median_spark.genes import GeneMap, GeneTable, read_gene_table
from median_spark.inspection import result_figures
from median_spark.results import figures_of, median_table, provenance_of, read_summary, write_result

NAMES = ("gene_median_dictionary.pkl", "token_dictionary.pkl", "ensembl_mapping_dict.pkl")
JSON_NAMES = tuple(name.replace(".pkl", ".json") for name in NAMES)
SPECIAL = {layout: [f"<{name}>" for name in layout] for layout in TOKEN_LAYOUTS}
FIRST, SECOND = TOKEN_LAYOUTS


def table_of(rows):
    """Return what is used of a median table, of {gene: (median, n_cells)}, in any order."""
    genes = list(rows)
    return pa.table(
        {
            "gene": pa.array(genes, pa.string()),
            "median": pa.array([rows[gene][0] for gene in genes], pa.float64(), from_pandas=False),
            "n_cells": pa.array([rows[gene][1] for gene in genes], pa.int64()),
        }
    )


def named(names):
    return GeneTable("genes.csv", dict.fromkeys(names, "protein_coding"), names)


ROWS = {
    "ENSG1": (2.5, 1_000),
    "ENSG2": (None, 0),
    "ENSG3": (0.5, 3),
    "ENSG4": (7.0, 10),
    "ENSG5": (1.25, 9),
}


class TestContract:
    """Dictionaries that a tokenizer can use pass; each rule is broken once and named."""

    @staticmethod
    def good(layout=SECOND):
        genes = ["ENSG1", "ENSG2", "ENSG3"]
        names = SPECIAL[layout] + genes
        medians = {"ENSG3": 0.5, "ENSG1": 2, "ENSG2": np.float64(1e-7)}
        return medians, dict(zip(names, range(len(names)), strict=True)), dict(zip(genes, genes, strict=True))

    @pytest.mark.parametrize("layout", TOKEN_LAYOUTS)
    def test_good_ones_pass(self, layout):
        medians, tokens, mapping = self.good(layout)
        assert check_dictionaries(medians, tokens, mapping | {"ACTB": "ENSG1", "GENE2": "ENSG2"}) == []
        assert check_dictionaries(medians, {name: np.int16(n) for name, n in tokens.items()}, mapping) == []

    def test_without_genes_pass(self):
        assert check_dictionaries({}, {"<pad>": 0, "<mask>": 1}, {}) == []

    def test_the_second_layout_may_have_medians_without_a_token(self):
        medians, tokens, mapping = self.good(SECOND)
        assert check_dictionaries(medians | {"ENSG9": 1.0}, tokens, mapping | {"ENSG9": "ENSG9"}) == []

    def test_the_first_may_not(self):
        medians, tokens, mapping = self.good(FIRST)
        broken = check_dictionaries(medians | {"ENSG9": 1.0}, tokens, mapping | {"ENSG9": "ENSG9"})
        assert broken == ["1 gene, 'ENSG9': with a median has no token"]

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"medians": {"ENSG1": math.nan}}, "'ENSG1': has a median that is not a finite number above 0"),
            ({"medians": {"ENSG1": math.inf}}, "not a finite number"),
            ({"medians": {"ENSG1": 0.0}}, "not a finite number above 0"),
            ({"medians": {"ENSG1": -1.0}}, "not a finite number above 0"),
            ({"medians": {"ENSG1": True}}, "not a finite number"),
            ({"medians": {"ENSG1": "2.5"}}, "not a finite number"),
            ({"medians": {"ENSG1": None, "ENSG2": None}}, "2 genes, 'ENSG1', 'ENSG2': with a token has no median"),
            ({"tokens": {"<pad>": 1, "<mask>": 0}}, "special token '<pad>' must have the id 0, not 1"),
            ({"tokens": {"<cls>": None}}, "special token '<cls>' must have the id 2, not None"),
            ({"tokens": {"ENSG3": 7}}, "must run from 0 to 6 without a gap"),
            ({"tokens": {"ENSG3": 5}}, "must run from 0 to 6 without a gap"),
            ({"tokens": {"ENSG3": 6.5}}, "'ENSG3': has an id that is not whole"),
            ({"tokens": {"ENSG3": None, "ENSG0": 6}}, "genes of the token dictionary must ascend"),
            ({"mapping": {"ENSG1": None}}, "'ENSG1': is not mapped to itself"),
            ({"mapping": {"ENSG1": "ENSG2"}}, "'ENSG1': is not mapped to itself"),
            ({"mapping": {"Actb": "ENSG1"}}, "'Actb': of the mapping is not upper-case"),
            ({"mapping": {"ACTB": "ENSG8"}}, "'ENSG8': that others are mapped to is not mapped to itself"),
        ],
    )
    def test_each_rule_can_be_broken(self, changed, words):
        found = dict(zip(("medians", "tokens", "mapping"), self.good(), strict=True))
        for name, entries in changed.items():
            merged = found[name] | entries
            found[name] = {key: value for key, value in merged.items() if value is not None}
        broken = check_dictionaries(**found)
        assert any(words in sentence for sentence in broken), broken

    @pytest.mark.parametrize("model", ["gc30M", "gc95M"])
    def test_published_ones_pass(self, real_data, model):
        names = ("gene_median_dictionary", "token_dictionary", "ensembl_mapping_dict")
        found = [pickle.loads((real_data / "geneformer" / f"{name}_{model}.pkl").read_bytes()) for name in names]
        assert [len(dictionary) for dictionary in found] == {
            "gc30M": [25_424, 25_426, 25_424],
            "gc95M": [42_005, 20_275, 173_697],
        }[model]
        assert check_dictionaries(*found) == []


class TestOptions:
    @pytest.mark.parametrize("tokens", [(), ("pad",), ("mask", "pad"), ("pad", "mask", "cls"), ("<pad>", "<mask>")])
    def test_an_unknown_layout_is_refused(self, tokens):
        with pytest.raises(UsageError, match=r"tokens must be 'pad,mask' or 'pad,mask,cls,eos', .* not"):
            GeneformerOptions(tokens=tokens)

    @pytest.mark.parametrize("cells", [0, -1])
    def test_too_few_cells_are_refused(self, cells):
        with pytest.raises(UsageError, match=f"min_cells must be a whole number of at least 1, not {cells}"):
            GeneformerOptions(min_cells=cells)

    @pytest.mark.parametrize("factor", ["", "mode", "Median"])
    def test_an_unknown_factor_is_rejected(self, factor):
        with pytest.raises(UsageError, match=f"factor must be 'median' or 'mean', not '{factor}'"):
            GeneformerOptions(factor=factor)

    @pytest.mark.parametrize("command", ["run", "medians"])
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--tokens", "pad,mask,cls"), "'pad,mask', 'pad,mask,cls,eos'"),
            (("--min-cells", "0"), "at least 1"),
            (("--min-cells", "2.5"), "at least 1"),
        ],
    )
    def test_the_command_line_refuses_them_too(self, capsys, command, arguments, words):
        with pytest.raises(SystemExit) as end:
            main([command, "x", "--out", "y", *arguments])
        assert end.value.code == 2
        assert words in capsys.readouterr().err


class TestWhichGenes:
    @pytest.mark.parametrize("layout", TOKEN_LAYOUTS)
    def test_detected_ones_after_the_special_tokens(self, layout):
        found = geneformer_dictionaries(table_of(ROWS), GeneformerOptions(tokens=layout))
        genes = ["ENSG1", "ENSG3", "ENSG4", "ENSG5"]
        assert list(found.tokens.items()) == [(name, n) for n, name in enumerate(SPECIAL[layout] + genes)]
        assert list(found.medians.items()) == [(gene, ROWS[gene][0]) for gene in genes]
        assert found.mapping == {gene: gene for gene in genes}

    def test_the_second_layout_is_the_default(self):
        assert list(geneformer_dictionaries(table_of(ROWS)).tokens)[:4] == ["<pad>", "<mask>", "<cls>", "<eos>"]

    @pytest.mark.parametrize(("cells", "genes"), [(3, 4), (4, 3), (9, 3), (10, 2), (1_000, 1), (1_001, 0)])
    def test_in_fewer_cells_than_wanted_are_left_out(self, cells, genes):
        found = geneformer_dictionaries(table_of(ROWS), GeneformerOptions(min_cells=cells))
        kept = sorted(gene for gene, (_, seen) in ROWS.items() if seen >= cells)
        assert list(found.medians) == kept == list(found.tokens)[4:]
        assert (found.figures.genes, found.figures.genes_in_fewer_cells) == (genes, 4 - genes)

    @pytest.mark.parametrize("median", [math.nan, None, 0.0, -1.0, math.inf])
    def test_whose_median_cannot_divide_are_left_out_and_counted(self, median):
        found = geneformer_dictionaries(table_of(ROWS | {"ENSG4": (median, 10)}))
        assert "ENSG4" not in {*found.medians, *found.tokens, *found.mapping}
        assert found.figures.genes_without_usable_median == 1

    def test_that_differ_by_case_only_are_one_for_a_tokenizer(self):
        found = geneformer_dictionaries(table_of({"FBgn1": (1.0, 5), "FBGN1": (2.0, 5), "FBgn2": (3.0, 5)}))
        assert found.medians == {"FBGN1": 2.0, "FBgn2": 3.0}
        assert found.mapping == {"FBGN1": "FBGN1", "FBGN2": "FBgn2"}
        assert found.figures.genes_told_apart_by_case == 1

    @pytest.mark.parametrize("mean", [None, math.nan, 0.0])
    def test_may_be_divided_by_their_means(self, mean):
        table = table_of(ROWS).append_column("mean", pa.array([4.0, None, 8.0, mean, 2.0], pa.float64()))
        found = geneformer_dictionaries(table, GeneformerOptions(factor="mean"))
        assert found.medians == {"ENSG1": 4.0, "ENSG3": 8.0, "ENSG5": 2.0}
        assert list(found.tokens)[4:] == list(found.medians)
        assert (found.figures.factor, found.figures.genes_without_usable_median) == ("mean", 1)


class TestSpellings:
    def test_names_lead_to_their_gene_in_upper_case(self):
        names = {"ENSG1": "C1orf1", "ENSG2": "UNSEEN", "ENSG3": "ACTB"}
        found = geneformer_dictionaries(table_of(ROWS), gene_table=named(names))
        own = {gene: gene for gene in found.medians}
        assert found.mapping == own | {"ACTB": "ENSG3", "C1ORF1": "ENSG1"}
        assert list(found.mapping) == sorted(found.mapping)

    def test_a_name_of_several_genes_is_left_out_and_counted(self):
        names = {"ENSG1": "Twin", "ENSG3": "TWIN", "ENSG4": "twin", "ENSG5": "ALONE"}
        found = geneformer_dictionaries(table_of(ROWS), gene_table=named(names))
        assert "TWIN" not in found.mapping
        assert found.mapping["ALONE"] == "ENSG5"
        assert found.figures.ambiguous_names == 1

    def test_a_name_shared_with_genes_that_are_not_in_leads_to_the_one_that_is(self):
        names = {"ENSG1": "HLA-A", "ENSG2": "HLA-A", "ENSG999": "HLA-A"}
        found = geneformer_dictionaries(table_of(ROWS), gene_table=named(names))
        assert found.mapping["HLA-A"] == "ENSG1"
        assert found.figures.ambiguous_names == 0

    def test_an_id_is_never_taken_for_another_genes_name(self):
        found = geneformer_dictionaries(table_of(ROWS), gene_table=named({"ENSG1": "ensg3"}))
        assert found.mapping["ENSG3"] == "ENSG3"

    def test_a_gene_map_has_the_say(self):
        by_map = GeneMap("map.csv", {"OLD1": "ENSG1", "ACTB": "ENSG4", "OLD2": "ENSG2", "LOST": "ENSG999"})
        names = named({"ENSG3": "ACTB", "ENSG5": "LOST"})
        found = geneformer_dictionaries(table_of(ROWS), gene_table=names, gene_map=by_map)
        own = {gene: gene for gene in found.medians}
        assert found.mapping == own | {"OLD1": "ENSG1", "ACTB": "ENSG4"}

    def test_names_that_are_none_lead_nowhere(self):
        by_map = GeneMap("map.csv", {"NAN": "ENSG1", "NA": "ENSG2", "<NA>": "ENSG3", "7157": "ENSG1"})
        found = geneformer_dictionaries(table_of(ROWS), gene_map=by_map)
        assert found.mapping == {gene: gene for gene in found.medians} | {"7157": "ENSG1"}

    def test_a_gene_map_has_the_say_on_a_genes_own_id(self):
        """Rows called ENSG1 were summed into ENSG3: a tokenizer that read them as ENSG1 would divide by another's."""
        by_map = GeneMap("map.csv", {"OLD1": "ENSG1", "ENSG1": "ENSG3", "ENSG3": "ENSG3"})
        found = geneformer_dictionaries(table_of(ROWS), gene_map=by_map)
        assert (found.mapping["OLD1"], found.mapping["ENSG1"]) == ("ENSG1", "ENSG3")
        assert check_dictionaries(found.medians, found.tokens, found.mapping) == [
            "1 gene, 'ENSG1': is not mapped to itself"
        ]


GENES = st.from_regex(r"(ENSG[0-9]{1,3}|[a-cA-C][a-c1-3]?)", fullmatch=True)
MEDIANS = st.floats(min_value=1e-6, max_value=1e6) | st.sampled_from([None, math.nan, 0.0, math.inf])
NAMED = st.from_regex(r"[A-Da-d1-3]{1,3}", fullmatch=True)


class TestProperty:
    @given(
        rows=st.dictionaries(GENES, st.tuples(MEDIANS, st.integers(0, 20)), max_size=30),
        layout=st.sampled_from(TOKEN_LAYOUTS),
        cells=st.integers(1, 10),
        names=st.dictionaries(GENES, NAMED, max_size=30),
        pairs=st.dictionaries(NAMED.map(str.upper), GENES, max_size=10),
    )
    def test_dictionaries_of_any_table_keep_the_contract(self, rows, layout, cells, names, pairs):
        own_ids = {gene.upper() for gene in rows}
        by_map = {name: gene for name, gene in pairs.items() if name not in own_ids}
        found = geneformer_dictionaries(
            table_of(rows),
            GeneformerOptions(layout, cells),
            named(names),
            GeneMap("map.csv", by_map),
        )
        fit = [gene for gene, (m, n) in rows.items() if n >= cells and m is not None and math.isfinite(m) and m > 0]
        wanted = sorted(min(g for g in fit if g.upper() == spelling) for spelling in {g.upper() for g in fit})
        assert list(found.tokens) == SPECIAL[layout] + wanted
        assert list(found.tokens.values()) == list(range(len(found.tokens)))
        assert list(found.medians.items()) == [(gene, rows[gene][0]) for gene in wanted]
        bearers = {name.upper(): set() for name in names.values()}
        for gene in set(wanted) & set(names):
            bearers[names[gene].upper()].add(gene)
        assert found.mapping == (
            {name: next(iter(genes)) for name, genes in bearers.items() if len(genes) == 1 and name not in by_map}
            | {name: gene for name, gene in by_map.items() if gene in wanted}
            | {gene.upper(): gene for gene in wanted}
        )
        assert check_dictionaries(found.medians, found.tokens, found.mapping) == []
        figures = found.figures
        assert figures.ambiguous_names == sum(
            len(genes) > 1 for name, genes in bearers.items() if name not in {*by_map, *(g.upper() for g in wanted)}
        )
        assert (figures.genes, figures.spellings) == (len(wanted), len(found.mapping))
        assert sum(1 for _, n in rows.values() if n) == (
            figures.genes
            + figures.genes_in_fewer_cells
            + figures.genes_without_usable_median
            + figures.genes_told_apart_by_case
        )


def types_without_numpy(folder):
    """Return what a Python without any installed package finds in the files: {file: its types}."""
    code = (
        "import importlib.util, json, pathlib, pickle, sys\n"
        "assert importlib.util.find_spec('numpy') is None\n"
        "found = {path.name: pickle.loads(path.read_bytes()) for path in pathlib.Path(sys.argv[1]).glob('*.pkl')}\n"
        "named = lambda values: sorted({type(value).__name__ for value in values})\n"
        "print(json.dumps({n: [type(d).__name__, named(d), named(d.values())] for n, d in found.items()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


class TestFiles:
    def test_hold_plain_types_that_load_without_numpy(self, tmp_path):
        found = geneformer_dictionaries(table_of(ROWS), gene_table=named({"ENSG1": "ACTB"}))
        for name, content in found.files().items():
            (tmp_path / name).write_bytes(content)
        assert types_without_numpy(tmp_path) == {
            NAMES[0]: ["dict", ["str"], ["float"]],
            NAMES[1]: ["dict", ["str"], ["int"]],
            NAMES[2]: ["dict", ["str"], ["str"]],
        }

    def test_read_back_to_what_was_written_in_order(self):
        found = geneformer_dictionaries(table_of(ROWS), gene_table=named({"ENSG1": "ACTB"}))
        read = [list(pickle.loads(found.files()[name]).items()) for name in NAMES]
        assert read == [list(wrote.items()) for wrote in (found.medians, found.tokens, found.mapping)]

    def test_json_says_the_same_as_the_pickles_to_the_bit(self):
        rows = {"ENSG1": (0.1 + 0.2, 9), "ENSG2": (1e-300, 9), "ENSG3": (1 / 3, 9)}
        found = geneformer_dictionaries(table_of(rows), gene_table=named({"ENSG1": "Ä\udc80\u2028"})).files()
        for pickled, text in zip(NAMES, JSON_NAMES, strict=True):
            assert list(json.loads(found[text]).items()) == list(pickle.loads(found[pickled]).items())
            assert found[text].endswith(b"}\n")

    def test_are_the_same_bytes_wherever_the_strings_come_from(self):
        """Equal strings that are one object pickle to fewer bytes than those that are two."""
        names = {"ENSG1": "ACTB", "ENSG3": "TP53", "ENSG5": "A"}
        pairs = {"ENSG1": "ENSG1", "OLD": "ENSG3"}

        def anew(entries):
            return {"".join(list(key)): "".join(list(value)) for key, value in reversed(entries.items())}

        once = geneformer_dictionaries(table_of(ROWS), None, named(names), GeneMap("m", pairs))
        again = geneformer_dictionaries(table_of(ROWS), None, named(anew(names)), GeneMap("m", anew(pairs)))
        assert once.files() == again.files()
        assert list(once.files()) == [*NAMES, *JSON_NAMES]


VALUES = {
    "ENSG1": np.random.default_rng(3).lognormal(size=3_000),
    "ENSG2": [],
    "ENSG3": [0.5, 0.25],
    "ENSG4": np.random.default_rng(4).lognormal(size=120),
}


def write(location, options=None, gene_table=None):
    merged, records = digests_of(VALUES), [record_of("a", values=30)]
    provenance, table = provenance_of("/expression", records, [], {}, "4.0"), median_table(merged, None)
    dictionaries = geneformer_dictionaries(table, options, gene_table)
    figures = figures_of(records, [])
    return write_result(str(location), table, merged, figures, provenance, dictionaries=dictionaries)


class TestResult:
    def test_has_them_with_the_tables_medians_also_of_digests_alone(self, tmp_path):
        write(tmp_path / "result")
        rows = pq.read_table(tmp_path / "result" / "medians.parquet").to_pylist()
        found = [pickle.loads((tmp_path / "result" / "geneformer" / name).read_bytes()) for name in NAMES]
        assert found[0] == {row["gene"]: row["median"] for row in rows if row["n_cells"]}
        assert list(found[1]) == ["<pad>", "<mask>", "<cls>", "<eos>", "ENSG1", "ENSG3", "ENSG4"]
        assert check_dictionaries(*found) == []

    def test_leaves_rare_genes_in_the_table(self, tmp_path):
        write(tmp_path / "result", GeneformerOptions(FIRST, 100))
        tokens = pickle.loads((tmp_path / "result" / "geneformer" / NAMES[1]).read_bytes())
        assert tokens == {"<pad>": 0, "<mask>": 1, "ENSG1": 2, "ENSG4": 3}
        table = pq.read_table(tmp_path / "result" / "medians.parquet")
        assert table["median"].null_count == 1
        assert set(pickle.loads((tmp_path / "result" / "detected_gene_median_dict.pickle").read_bytes())) == {
            "ENSG1",
            "ENSG3",
            "ENSG4",
        }

    def test_is_the_same_bytes_again(self, tmp_path):
        for place in ("one", "two"):
            write(tmp_path / place, gene_table=named({"ENSG1": "ACTB", "ENSG3": "B"}))
        for name in NAMES:
            one, two = ((tmp_path / place / "geneformer" / name).read_bytes() for place in ("one", "two"))
            assert one == two
        assert {path.name for path in (tmp_path / "one" / "geneformer").iterdir()} == {*NAMES, *JSON_NAMES}

    def test_summary_says_how_many_and_how_many_not(self, tmp_path):
        names = named({"ENSG1": "SAME", "ENSG4": "SAME"})
        summary = write(tmp_path / "result", GeneformerOptions(FIRST, 100), gene_table=names)
        assert read_summary(str(tmp_path / "result")).as_json()["geneformer"] == {
            "tokens": ["pad", "mask"],
            "min_cells": 100,
            "genes": 2,
            "genes_in_fewer_cells": 1,
            "genes_without_usable_median": 0,
            "genes_told_apart_by_case": 0,
            "spellings": 2,
            "ambiguous_names": 1,
            "factor": "median",
            "dictionary_of": None,
        }
        assert dict(result_figures(summary))["dictionaries"] == (
            "2 genes after the special tokens pad, mask; 2 ids and names map to them; "
            "left out: 1 gene detected in fewer than 100 cells, 1 name of several genes"
        )

    def test_names_of_a_real_gene_table_lead_to_their_genes(self, real_data):
        gene_table = read_gene_table(str(real_data / "gene_info_table.csv"))
        rows = dict.fromkeys(gene_table.universe(("protein_coding", "miRNA")), (1.0, 1))
        found = geneformer_dictionaries(table_of(rows), gene_table=gene_table)
        assert check_dictionaries(found.medians, found.tokens, found.mapping) == []
        assert (found.mapping["ACTB"], found.mapping["TP53"]) == ("ENSG00000075624", "ENSG00000141510")
        assert found.figures.ambiguous_names > 0


COUNTS = np.array(
    [[4, 0, 2, 1, 9], [1, 3, 0, 6, 2], [7, 7, 5, 1, 0], [2, 9, 4, 8, 3], [5, 1, 6, 2, 7], [3, 2, 8, 0, 4]]
)
"""Rows by cells."""


class TestInAPipeline:
    @pytest.fixture
    def corpus(self, tmp_path):
        ids = [f"ENSG{n:011d}" for n in range(6)]
        write_loom(tmp_path / "corpus" / "study.loom", COUNTS, ensembl_id=ids)
        lines = [f"{gene},protein_coding,Name{n}" for n, gene in enumerate(ids)]
        (tmp_path / "genes.csv").write_text("\n".join(["ensembl_id,gene_type,gene_name", *lines, ""]))
        return tmp_path / "corpus"

    @staticmethod
    def read(folder):
        return [pickle.loads((folder / "geneformer" / name).read_bytes()) for name in NAMES]

    @pytest.mark.spark
    @pytest.mark.parametrize("exact", ["--exact", "--no-exact"])
    def test_a_run_writes_and_counts_them(self, spark, corpus, tmp_path, capsys, exact):
        out, table = tmp_path / "out", tmp_path / "genes.csv"
        arguments = ["--gene-table", str(table), "--tokens", "pad,mask", "--min-cells", "5", exact]
        assert main(["run", str(corpus), "--out", str(out), *arguments]) == 0
        said = capsys.readouterr().out
        frequent = [f"ENSG{n:011d}" for n in range(6) if np.count_nonzero(COUNTS[n]) == 5]
        assert f"{len(frequent)} genes after the special tokens pad, mask" in said
        assert f"left out: {6 - len(frequent)} genes detected in fewer than 5 cells" in said
        medians, tokens, mapping = self.read(out / "medians")
        values = COUNTS / COUNTS.sum(axis=0) * 10_000
        assert medians == {gene: np.median(values[int(gene[4:])]) for gene in frequent}
        assert list(tokens) == ["<pad>", "<mask>", *frequent]
        assert mapping == {gene: gene for gene in frequent} | {f"NAME{int(gene[4:])}": gene for gene in frequent}
        provenance = json.loads((out / "medians" / "provenance.json").read_text())
        assert provenance["parameters"]["geneformer"] == {
            "tokens": ["pad", "mask"], "min_cells": 5, "factor": "median", "dictionary_of": None
        }  # fmt: skip

    @pytest.mark.spark
    def test_medians_takes_names_and_the_gene_map_of_the_conversion(self, spark, corpus, tmp_path, capsys):
        genes = [f"ENSG{n:011d}" for n in range(6)]
        lines = ["name,ensembl_id", *(f"{gene},{gene}" for gene in genes), f"old0,{genes[0]}", ""]
        (tmp_path / "map.csv").write_text("\n".join(lines))
        (tmp_path / "other.csv").write_text("\n".join(lines[:-2]))
        x, by_map = str(tmp_path / "x"), ["--gene-map", str(tmp_path / "map.csv")]
        assert main(["convert", str(corpus), "--out", x, *by_map, "--quiet"]) == 0
        by_other = ["--gene-map", str(tmp_path / "other.csv")]
        assert main(["medians", x, "--out", str(tmp_path / "r"), *by_other, "--quiet"]) == 2
        assert "this is not the gene map of the expression table" in capsys.readouterr().err
        by_name = ["--gene-table", str(tmp_path / "genes.csv")]
        assert main(["medians", x, "--out", str(tmp_path / "r"), *by_map, *by_name, "--quiet"]) == 0
        mapping = self.read(tmp_path / "r")[2]
        own = {gene: gene for gene in genes}
        assert mapping == own | {f"NAME{n}": gene for n, gene in enumerate(genes)} | {"OLD0": genes[0]}


@pytest.fixture(scope="module")
def geneformer():
    """The folder of a Geneformer package: the one that is installed, or that MEDIAN_SPARK_GENEFORMER names."""
    named_folder = os.environ.get("MEDIAN_SPARK_GENEFORMER")
    installed = importlib.util.find_spec("geneformer")
    if named_folder:
        folder = Path(named_folder)
    elif installed and installed.submodule_search_locations:
        folder = Path(installed.submodule_search_locations[0])
    else:
        pytest.skip("needs a Geneformer: none is installed, and MEDIAN_SPARK_GENEFORMER names no folder of one")
    folder = folder if (folder / "tokenizer.py").exists() else folder / "geneformer"
    needed = ("anndata", "datasets", "loompy", "scanpy", "tqdm")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs what a Geneformer's tokenizer imports: {', '.join(missing)} not installed")
    return folder


def tokens_by_hand(ids, medians, tokens, mapping, special):
    """Return each cell's tokens: genes by their value over their median, descending; values 0 have none."""
    n_counts = COUNTS.sum(axis=0)
    found = {}
    for cell in range(COUNTS.shape[1]):
        ranked = []
        for row, name in enumerate(ids):
            gene = mapping.get(name.upper()) if mapping else name
            if gene in medians and COUNTS[row, cell]:
                ranked.append((COUNTS[row, cell] / n_counts[cell] * 10_000 / medians[gene], tokens[gene]))
        cell_tokens = [token for _, token in sorted(ranked, reverse=True)]
        found[f"cell{cell}"] = [tokens["<cls>"], *cell_tokens, tokens["<eos>"]] if special else cell_tokens
    return found


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["loom", "h5ad"])
def test_a_real_tokenizer_ranks_by_them(geneformer, tmp_path, suffix):
    """Rows are called by id, by id in lower case, by name, by what leads nowhere, and by the id of a rare gene."""
    second = "gene_mapping_file" in (geneformer / "tokenizer.py").read_text()
    ids = ["ENSG3", "ensg1", "ACTB", "NOWHERE", "ENSG5", "ENSG7"]
    rows = {"ENSG1": (37.1, 90), "ENSG2": (1.9, 90), "ENSG3": (505.7, 90), "ENSG4": (3.3, 90), "ENSG5": (1.1, 2)}
    rows["ENSG7"] = (880.2, 90)
    made = geneformer_dictionaries(
        table_of(rows), GeneformerOptions(SECOND if second else FIRST, 3), named({"ENSG4": "Actb", "ENSG5": "RARE"})
    )
    for folder in ("dictionaries", "matrices"):
        (tmp_path / folder).mkdir()
    for name, content in made.files().items():
        (tmp_path / "dictionaries" / name).write_bytes(content)
    cells = [f"cell{n}" for n in range(COUNTS.shape[1])]
    if suffix == "loom":
        write_loom(tmp_path / "matrices" / "cells.loom", COUNTS, ensembl_id=ids, col_cell=cells)
    else:
        anndata = pytest.importorskip("anndata")
        if "ad.read(" in (geneformer / "tokenizer.py").read_text() and not hasattr(anndata, "read"):
            pytest.skip("this Geneformer reads h5ad by anndata.read, which this anndata no longer has")
        obs = pd.DataFrame({"n_counts": COUNTS.sum(axis=0), "filter_pass": 1, "cell": cells}, index=cells)
        var = pd.DataFrame({"ensembl_id": ids}, index=ids)
        anndata.AnnData(csr_matrix(COUNTS.T.astype(np.float32)), obs, var).write_h5ad(
            tmp_path / "matrices" / "cells.h5ad"
        )
    arguments = [geneformer, tmp_path / "dictionaries", tmp_path / "matrices", suffix]
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "tokenizing.py"), *map(str, arguments)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    wanted = tokens_by_hand(ids, made.medians, made.tokens, made.mapping if second else None, second)
    assert json.loads(done.stdout.splitlines()[-1]) == wanted
    assert max(map(len, wanted.values())) == (6 if second else 2)
