"""The report page without a browser: its figures against other ways to them, comparisons, and what is said."""

import base64
import json
import math
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cricks import to_cricks
from hypothesis import example, given
from hypothesis import strategies as st
from report_folders import COMPRESSION, HOSTILE, group_row, merged_of, some_values, write, write_stability

from median_spark import GeneTable, write_report
from median_spark.cli import main
from median_spark.errors import InputError, MedianSparkError, OutputError, TableError
from median_spark.report import groups as groups_module
from median_spark.report.comparison import MANY_CELLS, OtherMedians, compare, least_cells
from median_spark.report.figures import LEVELS, embedded, log_histogram, quantile_codes, quantiles
from median_spark.report.groups import compared_groups
from median_spark.report.other_medians import read_medians
from median_spark.report.texts import byte_size, factor, percent, setting, value, whole
from median_spark.results import read_provenance
from median_spark.results.medians import digest_table
from median_spark.results.sources import encode_sources

POSITIVE = st.floats(1e-6, 1e6)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A result folder; not to be written to."""
    folder = tmp_path_factory.mktemp("report") / "medians"
    write(folder, some_values())
    return folder


class Seen(HTMLParser):
    """What a browser would make of a page: elements, their attributes, and the text in scripts and elsewhere."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.scripts, self.text = [], [], []
        self._inside = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._inside = tag
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data
        else:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def seen(path):
    return Seen(path.read_text(encoding="utf-8"))


def drawn_from(page):
    """Return the JSON that a page's script draws from."""
    return next(json.loads(script) for script in page.scripts if script.startswith("{"))


def unpacked(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


class TestQuantiles:
    @given(st.lists(st.lists(POSITIVE, min_size=2, max_size=900), min_size=1, max_size=6))
    def test_are_those_that_crick_reads_off(self, values):
        merged = merged_of({f"G{number}": found for number, found in enumerate(values)}, 20.0)
        inner = LEVELS[1:-1]
        found = quantiles(digest_table(merged), inner)
        cricks = to_cricks([merged.digests[gene] for gene in sorted(merged.digests)], 20.0)
        wanted = [[crick.quantile(level) for level in inner] for crick in cricks]
        assert found.tolist() == wanted

    def test_end_at_the_smallest_and_the_largest_value(self):
        values = some_values(30)
        found = quantiles(digest_table(merged_of(values)))
        detected = [values[gene] for gene in sorted(values) if len(values[gene])]
        assert found[:, 0].tolist() == [each.min() for each in detected]
        assert found[:, -1].tolist() == [each.max() for each in detected]
        assert (np.diff(found, axis=1) >= 0).all()

    def test_of_many_values_are_near_numpys(self):
        values = np.random.default_rng(5).lognormal(size=50_000)
        (found,) = quantiles(digest_table(merged_of({"A": values})))
        ranks = np.searchsorted(np.sort(values), found) / len(values)
        assert np.abs(ranks - LEVELS).max() < 0.005

    def test_of_no_gene_at_all(self):
        assert quantiles(digest_table(merged_of({"A": []}))).shape == (0, len(LEVELS))

    @given(st.lists(st.lists(st.floats(1e-9, 1e12), min_size=3, max_size=3), min_size=1, max_size=20))
    @example([[1.0, 1.0, 1e-06], [999999163397.0, 1.0, 30935364.0]])
    def test_codes_lead_back_to_the_values(self, values):
        wanted = np.sort(np.array(values), axis=1)
        found = quantile_codes(wanted)
        # Half a step of the logarithm: of the value it is a little more above than below.
        np.testing.assert_allclose(
            found.low + found.step * found.codes, np.log(wanted), rtol=0, atol=found.step / 2 + 1e-9
        )
        assert found.step < 0.00075  # twenty-one decades


def neighbours(number):
    """Return a number, and those next to it that float64 can tell apart."""
    return [float(np.nextafter(number, 0)), number, float(np.nextafter(number, np.inf))]


near_edges = st.integers(-60, 120).flatmap(lambda step: st.sampled_from(neighbours(10.0 ** (step / 12))))
"""Numbers on and beside the edges of bins."""


class TestHistograms:
    @given(st.lists(near_edges | st.floats(0, exclude_min=True, allow_infinity=False), min_size=1), st.integers(1, 12))
    @example([99_999_999.0, 1e8], 12)
    @example([5e-324, sys.float_info.max], 12)
    @example([sys.float_info.max], 1)
    def test_count_what_numpy_counts(self, values, bins):
        histogram = log_histogram(values, bins)
        edges = histogram.edges
        assert np.all(np.diff(edges) > 0)
        assert edges[0] <= min(values)
        assert max(values) < edges[-1] or edges[-1] == sys.float_info.max
        assert histogram.counts.tolist() == np.histogram(values, edges)[0].tolist()
        assert histogram.counts[0] > 0
        assert histogram.counts[-1] > 0

    @given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(1, 12))
    @example(1e-8, 1e8, 12)
    def test_edges_are_equally_far_apart_and_powers_of_ten_exact(self, one, other, bins):
        """On any processor: numpy's powers differ in last bits where it uses AVX-512."""
        edges = log_histogram([one, other], bins).edges
        np.testing.assert_allclose(edges[1:] / edges[:-1], 10 ** (1 / bins), rtol=1e-12)
        decades = [float(f"1e{decade}") for decade in range(-301, 302)]
        within = [decade for decade in decades if edges[0] <= decade <= edges[-1]]
        assert set(within) <= set(edges.tolist())
        assert len(within) >= (len(edges) - 1) // bins

    def test_a_power_of_ten_begins_a_bin(self):
        found = log_histogram([1.0, 10.0, 100.0, 1_000.0, 999.0], 1)
        assert found.edges.tolist() == [1.0, 10.0, 100.0, 1_000.0, 10_000.0]
        assert found.counts.tolist() == [1, 1, 2, 1]

    def test_of_nothing(self):
        assert log_histogram([], 4).counts.tolist() == []


def test_embedded_arrays_are_little_endian():
    assert unpacked(embedded(np.array([1.5, 2.5], dtype=">f4")), "<f4").tolist() == [1.5, 2.5]


MEDIANS = st.dictionaries(st.sampled_from([f"G{number}" for number in range(30)]), POSITIVE, min_size=1)


class TestCompare:
    def test_genes_in_many_cells_have_a_correlation_of_their_own(self):
        rng = np.random.default_rng(2)
        genes = [f"G{number:03d}" for number in range(200)]
        medians, there = rng.lognormal(size=200), rng.lognormal(size=200)
        there[:100] = medians[:100] ** 2  # as alike as can be where there are many cells
        n_cells = np.where(np.arange(200) < 100, 101, 100)
        found = compare(genes, medians, n_cells, OtherMedians("o", dict(zip(genes, there, strict=True)), 0))
        assert (found.least_cells, found.spearman_many) == (100, pytest.approx(1.0))
        assert found.spearman < 0.8
        few = compare(genes, medians, n_cells - 1, OtherMedians("o", dict(zip(genes, there, strict=True)), 0))
        assert (few.least_cells, few.spearman_many) == (0, None)
        assert found.spearman_most_seen is None  # a tenth of 200 genes says little

    def test_the_tenth_of_genes_seen_in_most_cells_has_a_correlation_of_its_own(self):
        rng = np.random.default_rng(3)
        genes = [f"G{number:04d}" for number in range(1_000)]
        medians, there, n_cells = rng.lognormal(size=1_000), rng.lognormal(size=1_000), rng.permutation(1_000)
        most = n_cells >= 900
        there[most] = medians[most] * 3
        found = compare(genes, medians, n_cells, OtherMedians("o", dict(zip(genes, there, strict=True)), 0))
        assert found.spearman_most_seen == pytest.approx(1.0)
        assert found.ranks_differ

    @given(MEDIANS, MEDIANS)
    def test_counts_and_correlations_are_those_of_pandas(self, here, there):
        genes = sorted({*here, "X"})
        medians = np.array([here.get(gene, np.nan) for gene in genes])
        found = compare(genes, medians, np.full(len(genes), 7), OtherMedians("o", there, 0))
        shared = sorted(set(here) & set(there))
        assert (found.shared, found.only_here, found.only_there) == (
            len(shared),
            len(set(here) - set(there)),
            len(set(there) - set(here)),
        )
        pairs = pd.DataFrame({"here": [here[gene] for gene in shared], "there": [there[gene] for gene in shared]})
        if len(shared) < 3 or (pairs.nunique() == 1).any():
            assert found.spearman is None
        else:
            ranks = pairs.rank()
            assert found.spearman == pytest.approx(np.corrcoef(ranks["here"], ranks["there"])[0, 1], abs=1e-9)
        if shared:
            logs = np.log(pairs["here"] / pairs["there"])
            assert found.typical_ratio == pytest.approx(np.exp(logs.median()))
            for factor_, share in found.near:
                inside = np.abs(logs - logs.median()) <= np.log(factor_)
                assert share == pytest.approx(inside.mean(), abs=1e-12 + 2 / len(shared) * (not inside.all()))

    @given(MEDIANS, MEDIANS)
    def test_the_genes_that_moved_most_come_first(self, here, there):
        genes = sorted(here)
        medians = np.array([here[gene] for gene in genes])
        found = compare(genes, medians, np.full(len(genes), 7), OtherMedians("o", there, 0), listed=5)
        logs = {gene: np.log(here[gene] / there[gene]) for gene in here if gene in there}
        middle = np.median(list(logs.values())) if logs else 0
        farthest = sorted((abs(log - middle) for log in logs.values()), reverse=True)[:5]
        assert [abs(np.log(moved.against_typical)) for moved in found.moved] == pytest.approx(farthest, abs=1e-9)
        for moved in found.moved:
            assert (moved.here, moved.there) == (here[genes[moved.place]], there[genes[moved.place]])
            assert moved.ratio == moved.here / moved.there

    def test_genes_of_few_cells_are_passed_over_where_there_are_enough_others(self):
        genes = [f"G{number:03d}" for number in range(100)]
        n_cells = np.where(np.arange(100) < 70, MANY_CELLS + 1, MANY_CELLS)
        medians = np.ones(100)
        medians[99] = 1_000.0
        medians[3] = 2.0
        found = compare(genes, medians, n_cells, OtherMedians("o", dict.fromkeys(genes, 1.0), 0))
        assert found.least_cells == MANY_CELLS
        assert found.moved[0].place == 3
        assert 99 not in {moved.place for moved in found.moved}

    def test_few_genes_are_all_looked_at(self):
        assert least_cells(np.full(59, 1_000), 12) == 0
        assert least_cells(np.full(60, 1_000), 12) == MANY_CELLS


class TestReadMedians:
    @pytest.mark.parametrize(
        "content",
        [
            {"A": 1.5, "B": 2.5},
            {"A": np.float64(1.5), "B": np.float32(2.5)},
            {np.str_("A"): 1.5, "B": 2.5, "C": float("nan"), "D": None},
        ],
        ids=["plain", "numpy scalars", "undetected genes"],
    )
    @pytest.mark.parametrize("suffix", ["pkl", "pickle"])
    def test_of_a_pickled_dictionary(self, tmp_path, content, suffix):
        path = tmp_path / f"medians.{suffix}"
        path.write_bytes(pickle.dumps(content))
        found = read_medians(str(path))
        assert found.medians == {"A": 1.5, "B": 2.5}
        assert {type(gene) for gene in found.medians} == {str}
        assert found.undetected == len(content) - 2

    @pytest.mark.parametrize(
        "text",
        [
            "gene,median\nA,1.5\nB,2.5\nC,\n",
            "n,median,gene\n3,1.5,A\n4,2.5,B\n0,nan,C\n",
            "id,value\nA,1.5\nB,2.5\nC,\n",
        ],
        ids=["ours", "other order", "first two columns"],
    )
    def test_of_a_csv(self, tmp_path, text):
        (tmp_path / "medians.csv").write_text(text)
        found = read_medians(str(tmp_path / "medians.csv"))
        assert found.medians == {"A": 1.5, "B": 2.5}
        assert found.undetected == 1

    def test_all_forms_of_a_result_say_the_same(self, result):
        wanted = {
            row["gene"]: row["median"]
            for row in pq.read_table(result / "medians.parquet").to_pylist()
            if row["n_cells"]
        }
        for name in ("", "medians.csv", "medians.parquet", "total_gene_median_dict.pickle"):
            found = read_medians(str(result / name) if name else str(result))
            assert found.medians == wanted
            assert found.undetected == 6
        assert read_medians(str(result.parent)).medians == wanted  # the folder of a run

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("a.pkl", pickle.dumps([1, 2]), "holds a list; it must be a dict"),
            ("a.pkl", pickle.dumps({1: 2.0}), "a gene is named 1; a gene's name must be text"),
            ("a.pkl", pickle.dumps({"A": "much"}), "the median of 'A' is 'much'"),
            ("a.pkl", pickle.dumps({"A": 0.0}), "the median of 'A' is 0.0; a median must be a number above 0"),
            ("a.pkl", pickle.dumps({"A": -1.0}), "the median of 'A' is -1.0"),
            ("a.pkl", pickle.dumps({"A": float("inf")}), "the median of 'A' is inf"),
            ("a.pkl", pickle.dumps({"A": True}), "the median of 'A' is True"),
            ("a.pkl", pickle.dumps({"A": float("nan")}), "no gene with a median"),
            ("a.pkl", pickle.dumps({}), "no gene with a median"),
            ("a.pkl", b"\x80\x04", "cut off"),
            ("a.pkl", pickle.dumps({"A": print}), "print"),
            ("a.csv", b"gene,median\nA,1\nA,2\n", "'A' stands there twice"),
            ("a.csv", b"gene\nA\n", "needs the columns gene and median; it has 'gene'"),
            ("a.csv", b"gene,median\nA,x\n", "the median of 'A' is 'x'"),
            ("a.csv", b"", "cannot be read as CSV"),
            ("a.csv", b"\xff\xfe\x00,\n", "cannot be read as CSV"),
            ("a.csv", b"gene,median\n", "no gene with a median"),
            ("a.txt", b"", "cannot be compared with; it must be a .pkl"),
            ("a.parquet", b"PAR1", "cannot be read"),
        ],
    )
    def test_what_is_no_median_is_refused_by_name(self, tmp_path, name, content, words):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(MedianSparkError, match=re.escape(str(path))) as caught:
            read_medians(str(path))
        assert words in str(caught.value)

    def test_what_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file or folder to compare with"):
            read_medians(str(tmp_path / "none.csv"))

    def test_a_folder_without_a_result_is_refused(self, tmp_path):
        with pytest.raises(TableError, match="this is no result folder"):
            read_medians(str(tmp_path))

    def test_of_the_published_dictionaries(self, real_data):
        first = read_medians(str(real_data / "geneformer/gene_median_dictionary_gc30M.pkl"))
        second = read_medians(str(real_data / "geneformer/gene_median_dictionary_gc95M.pkl"))
        assert (len(first.medians), len(second.medians)) == (25_424, 42_005)


class TestPage:
    def test_is_written_with_every_result(self, result):
        page = seen(result / "report.html")
        assert "54 of 60 genes have a median over 30 cells of 2 sources" in page.words
        assert "Every median is exact" in page.words
        assert "medians may not generalise beyond this sample" in page.words
        assert page.elements[0] == ("html", {"lang": "en"})

    def test_draws_from_the_medians_and_the_digests(self, result):
        content = drawn_from(seen(result / "report.html"))
        rows = pq.read_table(result / "medians.parquet").to_pylist()
        assert content["genes"] == [row["gene"] for row in rows]
        assert content["names"] is None
        medians = unpacked(content["median"], "<f8")
        assert [None if np.isnan(median) else median for median in medians] == [row["median"] for row in rows]
        assert unpacked(content["cells"], "<f8").tolist() == [row["n_cells"] for row in rows]
        assert unpacked(content["sources"], "<u4").tolist() == [row["n_sources"] for row in rows]
        codes = unpacked(content["digests"]["codes"], "<u2").reshape(-1, len(content["digests"]["levels"]))
        drawn = np.exp(content["digests"]["low"] + content["digests"]["step"] * codes)
        middle = content["digests"]["levels"].index(0.5)
        wanted = [row["digest_median"] for row in rows if row["n_cells"]]
        np.testing.assert_allclose(drawn[:, middle], wanted, rtol=0.01)
        assert sum(content["detection"]["counts"]) + content["detection"]["undetected"] == 60
        assert sum(content["medians"]["counts"]) == 54

    def test_lets_the_page_load_nothing(self, result):
        text = (result / "report.html").read_text()
        page = seen(result / "report.html")
        policies = [held["content"] for tag, held in page.elements if held.get("http-equiv")]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"]
        assert not [held for _, held in page.elements if "src" in held]
        assert {held["href"][0] for _, held in page.elements if "href" in held} == {"#"}
        assert set(re.findall(r"https?://[^\"'\s<]+", text)) == {"http://www.w3.org/2000/svg"}
        assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\(", text)

    def test_holds_no_element_of_a_hostile_name(self, tmp_path):
        names = (HOSTILE, "b")
        write(tmp_path / "r", {HOSTILE: [1.0]}, names=names, failures=[(HOSTILE, HOSTILE)], warnings=[HOSTILE])
        table = GeneTable("t", {}, {HOSTILE: HOSTILE})
        (tmp_path / "c.pkl").write_bytes(pickle.dumps({HOSTILE: 2.0}))
        write_report(str(tmp_path / "r"), compare=[str(tmp_path / "c.pkl")], gene_table=table)
        page = seen(tmp_path / "r" / "report.html")
        assert sum(1 for tag, _ in page.elements if tag == "script") == 2
        assert not [held for _, held in page.elements if "onclick" in held]
        content = drawn_from(page)
        assert content["genes"] == content["names"] == [HOSTILE]
        assert page.words.count(" ".join(HOSTILE.split())) >= 5

    def test_tells_what_failed_and_what_was_left_out_of_which_source(self, tmp_path):
        write(
            tmp_path / "r",
            some_values(20),
            names=("a", "b"),
            failures=[("c", "is cut off")],
            warnings=["few cells pass"],
        )
        page = seen(tmp_path / "r" / "report.html")
        assert "1 source could not be read and is not part of these medians: c is cut off" in page.words
        assert "1 warning about the input: 2 sources ('a', 'b') few cells pass" in page.words
        assert "10 cells that did not pass the filter, in 2 sources" in page.words
        assert "20 rows with an id that the gene table lacks, in 2 sources" in page.words
        assert "10 rows of another gene type, in 2 sources" in page.words
        assert "Duplicate rows: 6 rows whose gene has another row" in page.words

    def test_tells_the_parameters_and_which_of_them_differ(self, tmp_path):
        write(tmp_path / "r", some_values(20))
        path = tmp_path / "r" / "provenance.json"
        record = json.loads(path.read_text())
        provenance = read_provenance(str(tmp_path / "r"))
        first, *others = provenance.sources
        changed = [replace(first, parameters={**first.parameters, "layer": "raw.X"}), *others]
        stored = encode_sources(changed)
        (tmp_path / "r" / "sources.parquet").write_bytes(stored.content)
        path.write_text(json.dumps(record | stored.as_json()))
        write_report(str(tmp_path / "r"))
        words = seen(tmp_path / "r" / "report.html").words.split("How the sources were converted")[1]
        assert "target sum 10,000 gene types miRNA, protein_coding" in words
        assert "layer not the same for all sources: see provenance.json" in words

    def test_without_exact_medians_says_why_there_are_no_errors(self, tmp_path):
        write(tmp_path / "r", some_values(20), exact=False)
        page = seen(tmp_path / "r" / "report.html")
        assert "The medians are estimates from t-digests" in page.words
        assert "Not known: these medians are the digests’ own" in page.words
        assert drawn_from(page)["error"] is None

    def test_with_exact_medians_tells_the_errors(self, tmp_path):
        values = {f"G{number}": np.linspace(1, 2, 300 if number < 25 else 10) for number in range(100)}
        write(tmp_path / "r", values)
        words = seen(tmp_path / "r" / "report.html").words
        assert "are at the right rank for 75.0 % of the detected genes" in words
        assert "0.1 % at most" in words

    def test_says_unknown_of_what_is_not_known(self, tmp_path):
        write(tmp_path / "r", some_values(20))
        summary = json.loads((tmp_path / "r" / "summary.json").read_text())
        unknown = dict.fromkeys(("cells", "cells_passed", "sources", "target_sum"))
        (tmp_path / "r" / "summary.json").write_text(json.dumps(summary | unknown))
        record = {"warnings": ["x may count twice"], "sources": [], "n_sources_are_lower_bounds": True}
        merged = {"path": "/old/x.pickle", "kind": "pickle", "genes": 18, "genes_left_out": 2, "values": 99}
        (tmp_path / "r" / "provenance.json").write_text(json.dumps(record | {"merged": [merged]}))
        write_report(str(tmp_path / "r"))
        page = seen(tmp_path / "r" / "report.html")
        assert "over an unknown number of cells of an unknown number of sources" in page.words
        assert "cells that pass unknown" in page.words
        assert "1 warning about the input: x may count twice" in page.words
        assert re.search(r"/ ?old/ ?x\. ?pickle pickle 18 2 99", page.words)
        assert "nan" not in page.words.lower()

    def test_top_and_bottom_genes_are_those_of_many_cells(self, tmp_path):
        values = {f"G{number:03d}": np.full(101, float(number + 1)) for number in range(80)}
        values |= {"RARE": np.full(100, 1e6), "NONE": []}
        write(tmp_path / "r", values)
        table = GeneTable("t", {}, {"G079": "TOPMOST"})
        write_report(str(tmp_path / "r"), gene_table=table)
        words = seen(tmp_path / "r" / "report.html").words
        assert "Among genes with values in more than 100 cells" in words
        largest = words.split("Largest medians")[1].split("Smallest medians")[0]
        assert re.findall(r"G\d{3}", largest) == [f"G{number:03d}" for number in range(79, 67, -1)]
        assert "TOPMOST" in largest
        assert "RARE" not in words
        smallest = words.split("Smallest medians")[1].split("What the t-digests")[0]
        assert re.findall(r"G\d{3}", smallest) == [f"G{number:03d}" for number in range(12)]

    def test_shows_whether_the_sources_are_comparable(self, tmp_path):
        rows = [
            group_row(1.0, source="a"),
            group_row(0.9, source="c"),
            group_row(4.0, source="plate/b", apart=True, tried=True),
        ]
        write(tmp_path / "r", some_values(20), groups=rows)
        write_report(str(tmp_path / "r"))
        words = seen(tmp_path / "r" / "report.html").words
        assert "Are the sources comparable?" in words
        assert "1 of 3 sources stands apart." in words
        assert re.search(r"plate/ ?b ?: its ratio is 4.00 times as large as the median source’s", words)
        assert "changes by 2.1 % typically and by 13.0 % at the 95th percentile of genes, and 77 genes" in words
        assert "1 source stands apart from the others, as plate-based studies do" in words

    def test_says_when_too_few_sources_can_be_judged(self, tmp_path):
        rows = [group_row(1.0, source="a", apart=None), group_row(4.0, source="b", apart=None)]
        write(tmp_path / "r", some_values(20), groups=rows)
        write_report(str(tmp_path / "r"))
        assert "No verdict: there are too few sources" in seen(tmp_path / "r" / "report.html").words

    def test_shows_groups_by_any_columns(self, tmp_path):
        rows = [
            group_row(1.1, assay=None, sex="f"),
            group_row(1.0, assay="10x", sex="f"),
            group_row(0.2, assay="10x", sex=None, apart=True),
        ]
        write(tmp_path / "r", some_values(20), groups=rows)
        write_report(str(tmp_path / "r"))
        words = seen(tmp_path / "r" / "report.html").words
        assert "Are the groups comparable?" in words
        assert "A group is all cells that have the same assay and sex." in words
        assert "10x, (none) : its ratio is 5.00 times as small as the median group’s." in words
        table = words.split("Groups compared")[1]
        assert "verdict 10x (none) 0.200" in table
        assert re.search(r"\(none\) f 1\.10 0\.880 – 1\.32 3 5,000 4,321 1,23\d fits", table)

    def test_draws_each_gene_in_every_group(self, tmp_path):
        rows = [
            group_row(1.0, assay="a", cells=10),
            group_row(2.0, assay="b", cells=30),
            group_row(0.5, assay=None, cells=20),
        ]
        write(tmp_path / "r", some_values(20), groups=rows)
        write_report(str(tmp_path / "r"))
        found = drawn_from(seen(tmp_path / "r" / "report.html"))["groups"]
        assert found["labels"] == ["b", "(none)", "a"]  # most cells first
        genes = pq.read_table(tmp_path / "r" / "medians.parquet").to_pylist()
        cells = unpacked(found["cells"], "u1").reshape(len(genes), 3)
        medians = np.exp(found["low"] + found["step"] * unpacked(found["medians"], "<u2").reshape(len(genes), 3))
        for row, cell_codes, found_medians in zip(genes, cells, medians, strict=True):
            if row["n_cells"]:
                np.testing.assert_allclose(2 ** ((cell_codes - 1) / 8), row["n_cells"], rtol=0.05)
                np.testing.assert_allclose(found_medians, np.array([2.0, 0.5, 1.0]) * row["median"], rtol=0.001)
            else:
                assert cell_codes.tolist() == [0, 0, 0]

    def test_shows_only_the_largest_of_many_groups(self, tmp_path):
        rows = [group_row(1.0, donor=f"d{number:03d}", cells=1_000 + number) for number in range(250)]
        write(tmp_path / "r", some_values(20), groups=rows)
        write_report(str(tmp_path / "r"))
        page = seen(tmp_path / "r" / "report.html")
        assert drawn_from(page)["groups"]["labels"] == [f"d{249 - number:03d}" for number in range(40)]
        assert "The 40 groups with most cells, of 250; by_group.parquet has all." in page.words
        assert "the first 200 of 250, groups.csv has all" in page.words
        assert len(page.words.split("Groups compared")[-1].split(" fits ")) == 201

    def test_embeds_fewer_groups_of_more_genes(self):
        rows = [group_row(1.0, donor=f"d{number}", cells=number) for number in range(100)]
        groups = compared_groups(pa.Table.from_pylist(rows))
        assert [len(groups.largest(genes)) for genes in (0, 1_000, 20_000, 400_000, 400_001)] == [40, 40, 20, 1, 0]
        assert [row.names for row in groups.largest(200_000)] == [("d99",), ("d98",)]

    def test_says_where_the_groups_are_if_none_fits(self, tmp_path, monkeypatch):
        monkeypatch.setattr(groups_module, "_MOST_EMBEDDED", 10)
        write(tmp_path / "r", some_values(20), groups=[group_row(1.0, assay="a")])
        write_report(str(tmp_path / "r"))
        page = seen(tmp_path / "r" / "report.html")
        assert "by_group.parquet has each gene’s median in every group" in page.words
        assert drawn_from(page)["groups"] is None

    def test_groups_of_another_result_are_rejected(self, tmp_path):
        write(tmp_path / "a", {"G1": [1.0, 2.0]})
        write(tmp_path / "b", {"G2": [1.0, 2.0]}, groups=[group_row(1.0, assay="a")])
        for name in ("groups.parquet", "by_group.parquet"):
            (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
        with pytest.raises(TableError, match=r"by_group\.parquet: this file has genes that the medians lack"):
            write_report(str(tmp_path / "a"))

    def test_says_whether_it_is_enough(self, tmp_path):
        write(tmp_path / "r", some_values())
        table = write_stability(tmp_path / "r")
        write_report(str(tmp_path / "r"))
        page = seen(tmp_path / "r" / "report.html")
        judged = table.filter(pc.field("n_cells") > 100)
        moves = percent(np.median(judged["change_halves"].to_numpy()) / np.sqrt(2)).replace("\u00a0", " ")
        assert f"Half of the genes would move by less than {moves} if as many cells again" in page.words
        assert f"They are about the {len(judged)} genes with values in more than 100 cells." in page.words
        listed = page.words.split("Genes that depend most on which sources are in")[1].split("stability.parquet")[0]
        order = judged.sort_by([("change_halves", "descending")])["gene"].to_pylist()
        assert re.findall(r"ENSG\d+", listed) == order[:12]
        content = drawn_from(page)["stability"]
        assert content["shares"] == [1 / 16, 1 / 8, 1 / 4, 1 / 2]
        assert content["half"] == [np.median(judged[f"change_1_{each}"].to_numpy()) for each in (16, 8, 4, 2)]
        by_gene = dict(zip(table["gene"].to_pylist(), table["change_halves"].to_pylist(), strict=True))
        drawn = unpacked(content["halves"], "<f4")
        for gene, change in zip(drawn_from(page)["genes"], drawn.tolist(), strict=True):
            assert math.isnan(change) if by_gene.get(gene) is None else change == pytest.approx(by_gene[gene])

    def test_says_when_there_are_too_few_sources_to_tell(self, tmp_path):
        write(tmp_path / "r", some_values(20))
        write_stability(tmp_path / "r", buckets=2)
        write_report(str(tmp_path / "r"))
        page = seen(tmp_path / "r" / "report.html")
        assert "No answer: it takes at least four sources" in page.words
        assert drawn_from(page)["stability"] is None

    def test_has_no_answer_where_most_genes_are_in_few_sources(self, tmp_path):
        write(tmp_path / "r", {f"G{number}": [1.0] for number in range(20)})
        write_stability(tmp_path / "r")
        write_report(str(tmp_path / "r"))
        page = seen(tmp_path / "r" / "report.html")
        assert "Most genes have values in so few sources" in page.words
        assert "inf" not in page.words.split("Is it enough?")[-1].split("Input")[0]

    def test_compares(self, result, tmp_path):
        rows = [row for row in pq.read_table(result / "medians.parquet").to_pylist() if row["n_cells"]]
        others = {row["gene"]: row["median"] * 2 for row in rows[4:]} | {"ELSEWHERE": 1.0}
        moved = max(rows[4:], key=lambda row: row["n_cells"])["gene"]
        others[moved] *= 100
        (tmp_path / "others.pkl").write_bytes(pickle.dumps(others))
        page = write_report(
            str(result), str(tmp_path / "page.html"), compare=[str(tmp_path / "others.pkl"), str(result)]
        )
        found = seen(tmp_path / "page.html")
        assert page == str(tmp_path / "page.html")
        assert "With others.pkl genes in both 50 only here 4 only there 1" in found.words
        assert "typical ratio, here to there ÷ 2.00" in found.words
        assert found.words.split("Moved most")[1].split("cells")[1].split()[0] == moved
        assert f"With {result.parent.name}/medians genes in both 54 only here 0 only there 0" in found.words
        assert "rank correlation (Spearman), all shared genes 1.000" in found.words
        there = unpacked(drawn_from(found)["comparisons"][0]["there"], "<f4")
        assert np.isfinite(there).sum() == 50

    def test_of_a_whole_corpus_is_below_six_megabytes(self, tmp_path):
        rng = np.random.default_rng(2)
        values = {f"ENSG{number:011d}": rng.lognormal(size=3) for number in range(27_000)}
        write(tmp_path / "r", values)
        names = {gene: f"NAME{number}" for number, gene in enumerate(values)}
        write_report(str(tmp_path / "r"), compare=[str(tmp_path / "r")], gene_table=GeneTable("t", {}, names))
        assert (tmp_path / "r" / "report.html").stat().st_size < 6_000_000

    def test_explains_a_low_correlation(self, tmp_path):
        rng = np.random.default_rng(3)
        values = {f"ENSG{number:011d}": rng.lognormal(size=3) for number in range(1_000)}
        write(tmp_path / "r", values)
        others = {gene: float(rng.lognormal()) for gene in values}
        (tmp_path / "others.pkl").write_bytes(pickle.dumps(others))
        pages = {}
        for other in ("others.pkl", "r"):
            write_report(str(tmp_path / "r"), str(tmp_path / "page.html"), compare=[str(tmp_path / other)])
            pages[other] = seen(tmp_path / "page.html").words
        assert "A low correlation over all genes is common" in pages["others.pkl"]
        assert "A low correlation" not in pages["r"]
        assert "the tenth of genes seen in most cells 1.000" in pages["r"]


class TestWriteReport:
    def test_replaces_the_page_of_the_result_or_of_a_run(self, tmp_path):
        write(tmp_path / "run" / "medians", some_values(20))
        page = tmp_path / "run" / "medians" / "report.html"
        page.write_text("old")
        assert write_report(str(tmp_path / "run")) == str(page)
        assert page.read_text().startswith("<!doctype html>")

    def test_of_no_result_is_refused(self, tmp_path):
        with pytest.raises(TableError, match=r"this is no result folder: it has no summary\.json"):
            write_report(str(tmp_path))

    @pytest.mark.parametrize(
        "name",
        [
            "medians.parquet",
            "digests.parquet",
            "groups.parquet",
            "by_group.parquet",
            "stability.parquet",
            "provenance.json",
            "summary.json",
        ],
    )
    def test_of_a_damaged_result_is_refused_by_name(self, tmp_path, name):
        write(tmp_path / "r", some_values(20), groups=[group_row(1.0, assay="a")])
        write_stability(tmp_path / "r")
        (tmp_path / "r" / name).write_bytes(b"damaged")
        with pytest.raises(TableError, match=f"{name}: this (file|document) of a result cannot be read"):
            write_report(str(tmp_path / "r"))

    @pytest.mark.parametrize("damage", ["removed", "damaged"])
    def test_without_its_table_of_sources_is_refused_by_name(self, tmp_path, damage):
        write(tmp_path / "r", some_values(20))
        path = tmp_path / "r" / "sources.parquet"
        path.unlink() if damage == "removed" else path.write_bytes(b"damaged")
        with pytest.raises(TableError, match=r"sources\.parquet(, which records| of this result is damaged)"):
            write_report(str(tmp_path / "r"))

    def test_of_another_format_version_is_refused(self, tmp_path):
        write(tmp_path / "r", some_values(20))
        (tmp_path / "r" / "summary.json").write_text('{"format_version": 99}')
        with pytest.raises(TableError, match="format version 99"):
            write_report(str(tmp_path / "r"))

    def test_of_files_of_two_results_is_refused(self, tmp_path):
        write(tmp_path / "r", some_values(20))
        write(tmp_path / "other", some_values(30))
        (tmp_path / "r" / "digests.parquet").write_bytes((tmp_path / "other" / "digests.parquet").read_bytes())
        with pytest.raises(TableError, match="are of different genes, and so of different results"):
            write_report(str(tmp_path / "r"))

    @pytest.mark.parametrize(("name", "column"), [("medians.parquet", "n_cells"), ("groups.parquet", "ratio")])
    def test_without_a_column_is_refused_by_name(self, tmp_path, name, column):
        write(tmp_path / "r", some_values(20), groups=[group_row(1.0, assay="a")])
        table = pq.read_table(tmp_path / "r" / name)
        pq.write_table(table.drop_columns([column]), tmp_path / "r" / name)
        with pytest.raises(TableError, match=f"{name}: this file of a result lacks the column '{column}'"):
            write_report(str(tmp_path / "r"))

    def test_to_where_nothing_can_be_written_is_refused(self, result, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"file/page\.html: this file cannot be written"):
            write_report(str(result), str(tmp_path / "file" / "page.html"))

    @pytest.mark.parametrize("content", ['{"sources": [{}]}', '{"sources": 3}', '{"merged": [{"path": "x"}]}'])
    def test_of_a_record_that_is_damaged_is_refused(self, tmp_path, content):
        write(tmp_path / "r", some_values(20))
        (tmp_path / "r" / "provenance.json").write_text(content)
        with pytest.raises(TableError, match=r"provenance\.json of this result is damaged"):
            write_report(str(tmp_path / "r"))

    def test_without_a_figure_is_refused_by_name(self, tmp_path):
        write(tmp_path / "r", some_values(20))
        (tmp_path / "r" / "summary.json").write_text('{"format_version": 1, "sources": 1}')
        with pytest.raises(TableError, match=r"summary\.json: this document of a result lacks the field 'cells'"):
            write_report(str(tmp_path / "r"))

    def test_a_new_result_has_the_names_of_its_gene_table(self, tmp_path):
        table = GeneTable("t", {}, {"ENSG00000000000": "MIR1"})
        write(tmp_path / "r", some_values(20), gene_table=table)
        assert drawn_from(seen(tmp_path / "r" / "report.html"))["names"][0] == "MIR1"

    def test_takes_names_from_a_gene_table(self, tmp_path):
        (tmp_path / "genes.csv").write_text("ensembl_id,gene_type,gene_name\nENSG00000000000,miRNA,MIR1\n")
        write(tmp_path / "r", some_values(20))
        assert main(["report", str(tmp_path / "r"), "--gene-table", str(tmp_path / "genes.csv")]) == 0
        assert drawn_from(seen(tmp_path / "r" / "report.html"))["names"][0] == "MIR1"


class TestCommand:
    def test_says_where_the_page_is(self, result, tmp_path, capsys):
        assert main(["report", str(result), "--out", str(tmp_path / "p.html"), "--compare", str(result)]) == 0
        page, compared = capsys.readouterr().out.splitlines()
        assert page == f"report: {tmp_path}/p.html"
        assert compared.startswith(f"beside {result}: ")
        assert compared.endswith(
            " shared genes, rank correlation (Spearman) 1.000, typical ratio here / there 1; "
            "100% within a factor of 1.1; 100% within a factor of 1.5; 100% within a factor of 2 of it"
        )
        assert "Comparison" in (tmp_path / "p.html").read_text()

    def test_prints_no_correlation_of_too_few_genes(self, result, tmp_path, capsys):
        (tmp_path / "c.csv").write_text("gene,median\nENSG00000000000,2.5\nnowhere,1\n")
        assert main(["report", str(result), "--out", str(tmp_path / "p.html"), "--compare", f"{tmp_path}/c.csv"]) == 0
        assert "c.csv: 1 shared gene, rank correlation (Spearman) none, typical ratio" in capsys.readouterr().out

    def test_says_why_no_gene_may_be_shared(self, result, tmp_path, capsys):
        (tmp_path / "c.csv").write_text("gene,median\nnowhere,1\n")
        assert main(["report", str(result), "--out", str(tmp_path / "p.html"), "--compare", f"{tmp_path}/c.csv"]) == 0
        assert "(Spearman) none; the other's genes may be of another species, or named" in capsys.readouterr().out

    def test_of_what_cannot_be_compared_with_exits_with_2(self, result, tmp_path, capsys):
        assert main(["report", str(result), "--out", str(tmp_path / "p.html"), "--compare", "nowhere.pkl"]) == 2
        assert "nowhere.pkl: there is no such file" in capsys.readouterr().err
        assert not (tmp_path / "p.html").exists()


class TestTexts:
    def test_numbers_have_separators_and_the_digits_that_mean_something(self):
        assert [whole(1_234_567), whole(97.5), whole(None)] == ["1,234,567", "97.5", "unknown"]
        assert [value(1234.5), value(585.0), value(0.075621), value(None), value(1.5, 2)] == [
            "1,234", "585.0", "0.07562", "none", "1.5",
        ]  # fmt: skip
        assert value(1.23456e-7) == "1.235 × 10⁻⁷"
        assert [percent(0.0), percent(0.0011), percent(0.561), percent(None)] == [
            "0\u00a0%", "0.11\u00a0%", "56.1\u00a0%", "unknown",
        ]  # fmt: skip
        assert [factor(2.0), factor(0.5)] == ["× 2.00", "÷ 2.00"]
        assert [byte_size(999), byte_size(1_500_000), byte_size(None)] == ["999 bytes", "1.5 MB", "unknown"]
        assert setting({"a": [True, None], "b": 10_000.0}) == "a: yes, none; b: 10,000"


def test_writing_a_page_loads_neither_scipy_nor_matplotlib_nor_spark(result, tmp_path):
    code = f"""
import sys
from median_spark.report import write_report
write_report({str(result)!r}, {str(tmp_path / "p.html")!r})
print([name for name in ("scipy", "matplotlib", "pyspark", "loompy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_digests_of_another_compression_are_drawn_alike(tmp_path):
    values = {"A": np.random.default_rng(1).lognormal(size=5_000)}
    found = [quantiles(digest_table(merged_of(values, compression))) for compression in (100.0, COMPRESSION, 1000.0)]
    assert isinstance(digest_table(merged_of(values)), pa.Table)
    np.testing.assert_allclose(found[0][0, 4:-4], found[2][0, 4:-4], rtol=0.02)
