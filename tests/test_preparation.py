"""Plans: what keeps sources from being converted is said once for all that share it."""

from dataclasses import replace

import numpy as np
import pytest
from looms import write_loom
from tables import stage_source

from median_spark import CellQuery
from median_spark.errors import InputError, TableError, UsageError
from median_spark.expression import FailureRecord, create_table
from median_spark.geneformer import GeneformerOptions
from median_spark.job_options import ConvertOptions, MedianOptions, ResultOptions
from median_spark.preparation import prepare_medians, prepare_run, stop_at_failures


def failures(**sentences):
    return [FailureRecord(name, f"/in/{name}.loom", f"/in/{name}.loom: {text}") for name, text in sentences.items()]


def lines(found):
    with pytest.raises(InputError) as refused:
        stop_at_failures(found, ConvertOptions())
    return str(refused.value).splitlines()


def test_one_failure_is_one_sentence():
    assert lines(failures(a="is cut off")) == ["/in/a.loom: is cut off"]


def test_a_sentence_that_several_sources_share_is_said_once():
    found = failures(a="no cell passes", b="is cut off", c="no cell passes", d="no cell passes", e="no cell passes")
    assert lines(found) == [
        "5 sources cannot be converted:",
        "  4 sources ('a', 'c', 'd' and 1 more): no cell passes",
        "  /in/b.loom: is cut off",
    ]


def test_of_sentences_that_differ_in_details_three_are_shown():
    chooses = "the query of cells chooses none of its {0} cells: 'age' holds {0} to 99: change cells"
    found = failures(**{f"s{number}": chooses.format(number) for number in range(1_000, 1_009)}, cut="is cut off")
    said = lines(found)
    assert said[:2] == ["10 sources cannot be converted:", f"  /in/s1000.loom: {chooses.format(1000)}"]
    assert [line.split(":")[0] for line in said[1:4]] == [f"  /in/s{number}.loom" for number in range(1_000, 1_003)]
    assert said[4].startswith("  … and 6 more like these: 'median-spark inspect' with the same options shows")
    assert said[5:] == ["  /in/cut.loom: is cut off"]


def test_failures_that_are_skipped_stop_nothing():
    stop_at_failures(failures(a="is cut off"), ConvertOptions(on_error="skip"))


def of_source(name):
    """Return the fields of result options for dictionaries of one source."""
    return {"by": ("source",), "geneformer": GeneformerOptions(dictionary_of={"source": name})}


class TestAttributesThatNoCellHas:
    """What the records of a table tell is refused before Spark is started."""

    @pytest.fixture
    def table(self, tmp_path):
        table = create_table(str(tmp_path / "x"))
        genes = table.store_genes(["A"])
        for name, more in (("a", [("age", "int64")]), ("b", [])):
            record = stage_source(table, name, f"c{name}", [1.0, 2.0])
            table.commit(replace(record, gene_list=genes, cell_columns=(*record.cell_columns, *more)))
        return table.location

    @pytest.mark.parametrize(
        ("options", "outputs", "refusal", "sentence"),
        [
            ({}, {"by": ("tissue",)}, TableError, "no cell has the attribute 'tissue'; there are 'age', 'cell', 'n_c"),
            ({"cells": CellQuery("tissue == 'x'")}, {}, TableError, "no cell has the attribute 'tissue'; there are"),
            ({"cells": CellQuery("age > 3")}, {}, TableError, r"which the cells of 1 source lack \('b'\)"),
            ({}, {"by": ("age",), "missing": "fail"}, TableError, r"1 source of 2 have no 'age' \('b'\)"),
            (
                {},
                of_source("c"),
                UsageError,
                "there is no group 'source=c'; there are 2 groups: 'source=a', 'source=b'",
            ),
        ],
    )
    def test_are_refused_for_medians(self, table, tmp_path, options, outputs, refusal, sentence):
        given = (MedianOptions(**options), ResultOptions(**outputs))
        with pytest.raises(refusal, match=sentence):
            prepare_medians(table, str(tmp_path / "r"), None, *given)

    def test_are_refused_only_if_no_source_has_them(self, table, tmp_path):
        plan = prepare_medians(table, str(tmp_path / "r"), outputs=ResultOptions(by=("age",)))
        assert [record.source for record in plan.records] == ["a", "b"]

    def test_a_run_refuses_dictionaries_of_a_source_that_is_not_among_its_inputs(self, tmp_path):
        inputs = [str(tmp_path / "in" / f"{name}.loom") for name in "ab"]
        (tmp_path / "in").mkdir()
        for path in inputs:
            write_loom(path, np.ones((2, 3)))
        with pytest.raises(UsageError, match="there is no group 'source=c'; there are 2 groups"):
            prepare_run(inputs, str(tmp_path / "run"), outputs=ResultOptions(**of_source("c")))
        prepare_run(inputs, str(tmp_path / "run"), outputs=ResultOptions(**of_source("a")))
