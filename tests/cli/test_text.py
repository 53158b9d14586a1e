"""What commands say: the longest summaries fit, too."""

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from median_spark.cli.summary import MOST_LINES, aligned
from median_spark.cli.text import LEFT_OUT, conversion_summary, merge_summary, result_summary, run_summary
from median_spark.expression import FailureRecord
from median_spark.geneformer import DictionaryFigures
from median_spark.matrices import AppliedLayout
from median_spark.results import LeftOutIds, MergeRecord, ResultSummary
from median_spark.spark.convert.listed_cells import CellListUse

FAILURES = [
    FailureRecord(f"bad{number}", f"bad{number}.loom", f"bad{number}.loom: odd {number}") for number in range(9)
]


def conversion(sources=3, warnings=2, failures=FAILURES):
    counts = SimpleNamespace(**dict.fromkeys(LEFT_OUT, 2), no_id_examples=("'nan'",), summed_rows=1)
    records = [
        SimpleNamespace(
            source=f"s{number}",
            cells=10,
            cells_passed=9,
            values=50,
            row_counts=counts,
            warnings=["odd"] * warnings,
            layout=AppliedLayout("tahoe", {"n_counts_attr": f"total{number}"}),
        )
        for number in range(sources)
    ]
    used = CellListUse("cells.csv", 1_000, 7, 0)
    return SimpleNamespace(records=records, converted=["s0"], unchanged=["s1", "s2"], failures=failures, cell_list=used)


def summary(**other):
    figures = DictionaryFigures(("pad", "mask"), 5, 3, 1, 1, 0, 4, 1)
    known = {
        "sources": 8, "cells": 30, "cells_passed": 27, "values": 150, "failed_sources": FAILURES, "genes": 5,
        "genes_detected": 4, "genes_in_more_than_100_cells": 0, "genes_in_more_than_1000_cells": 0,
        "median_detection_count": 4.5, "median_detection_count_of_detected": 5.0, "target_sum": 1e4,
        "compression": 100.0, "medians_are": "exact", "worst_digest_rank_error": 0.01, "p99_digest_rank_error": 0.001,
        "geneformer": figures, "groups_apart": ["s0"],
    }  # fmt: skip
    return ResultSummary(**(known | other))


@pytest.fixture
def result(tmp_path):
    """The folder of a result of which five of eight sources stand apart."""
    genes = {"gene": ["A", "B", "C", "D"], "median": [1.5, 2.0, 0.25, None], "n_cells": [9, 27, 9, 0]}
    pq.write_table(pa.table(genes | {"n_sources": [1, 8, 2, 0]}), tmp_path / "medians.parquet")
    sources = [
        {
            "source": f"s{number}", "ratio": 1.0 + number, "apart": number > 2, "factor_apart": 1.0 + number,
            "median_n_counts": None if number == 3 else 1e5, "values_per_cell": 50.0,
            "without_typical_change": 0.1 if number > 4 else None, "without_p95_change": 0.2,
            "without_genes_changed": 7,
        }
        for number in range(8)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(sources), tmp_path / "groups.parquet")
    return str(tmp_path)


def test_the_longest_summary_of_a_run_fits_and_loses_no_kind_of_problem(result):
    said = run_summary(conversion_summary(conversion(), "x", result), result_summary(summary(), result, by=("source",)))
    lines = aligned(said.lines())
    assert len(lines) == MOST_LINES
    assert [line.split()[0] for line in lines[-4:]] == ["warning", "warning", "failed", "report"]
    assert lines[-2] == f"failed        9 sources, see {result}/summary.json"
    assert lines[-1] == f"report        {result}/report.html"
    assert len(said.warnings()) == 2 + 6
    assert said.notes()[-1] == "the 2 sources least far apart were not left out"


def test_genes_are_shown_in_order_where_there_is_room(result):
    lines = aligned(result_summary(summary(groups_apart=[]), result).lines())
    assert [line for line in lines if " median " in line and " in " in line and "cells" in line][-3:] == [
        "most cells    B                median    2.0000 in 27 cells of 8 sources",
        "              A                median    1.5000 in 9 cells of 1 source",
        "              C                median    0.2500 in 9 cells of 2 sources",
    ]


def test_a_few_failures_are_named(result):
    lines = aligned(conversion_summary(conversion(warnings=0, failures=FAILURES[:2]), "x").lines())
    assert lines[-3:] == ["failed     2 sources", "           bad0.loom: odd 0", "           bad1.loom: odd 1"]


def test_a_reason_that_several_sources_share_is_said_once(result):
    same = [FailureRecord(f"db/{name}", f"/in/db/{name}.loom", f"/in/db/{name}.loom: odd") for name in "abcd"]
    lines = aligned(conversion_summary(conversion(warnings=0, failures=same), "x").lines())
    assert lines[-2:] == ["failed     4 sources", "           4 sources ('db/a', 'db/b', 'db/c' and 1 more): odd"]


def conversion_with(*warnings):
    """Return a conversion of sources s0, s1, … with these warnings."""
    done = conversion(sources=len(warnings), warnings=0, failures=[])
    for record, warning in zip(done.records, warnings, strict=True):
        record.warnings = [warning]
    return done


@pytest.mark.parametrize(
    ("warnings", "lines"),
    [
        (["odd"], ["s0: odd"]),
        (["odd"] * 5, ["5 sources ('s0', 's1', 's2' and 2 more): odd"]),
        (["1,200 odd", "30 odd"], ["2 sources ('s0', 's1'): 1,200 odd (numbers of 's0')"]),
        (["7% odd", "bad", "7% odd"], ["2 sources ('s0', 's2'): 7% odd", "s1: bad"]),
    ],
)
def test_a_warning_of_several_sources_is_said_once(warnings, lines):
    said = conversion_summary(conversion_with(*warnings), "x")
    assert [line.finding for line in said.lines() if line.label == "warning"] == lines
    assert sorted(said.warnings()) == sorted(f"s{number}: {warning}" for number, warning in enumerate(warnings))


def test_layouts_and_the_list_of_cells_are_said(result):
    lines = aligned(conversion_summary(conversion(warnings=0, failures=[]), "x").lines())
    assert lines[-4:] == [
        "cell list  1,000 cells in cells.csv; 7 of them in no source",
        "layouts    tahoe, 1 source: read as with --n-counts-attr total0",
        "           tahoe, 1 source: read as with --n-counts-attr total1",
        "           tahoe, 1 source: read as with --n-counts-attr total2",
    ]


def test_many_failures_of_a_conversion_are_counted(result):
    many = [
        FailureRecord(f"bad{number}", f"bad{number}.loom", f"bad{number}.loom: odd {number}") for number in range(81)
    ]
    lines = aligned(conversion_summary(conversion(warnings=0, failures=many), "x").lines())
    assert len(lines) == MOST_LINES
    assert lines[-1].startswith("           … and ")
    assert lines[-1].endswith(" more in the output of --json")


def test_the_longest_summary_of_a_merge_fits(result):
    record = MergeRecord(
        merged=[], left_out=LeftOutIds(2, ["E1"], 1), warnings=["odd"] * 30, n_sources_are_lower_bounds=True
    )
    unknown = {"worst_digest_rank_error": None, "target_sum": None, "groups_apart": None}
    lines = aligned(merge_summary(summary(**unknown), record, result).lines())
    assert len(lines) == MOST_LINES
    assert "more in" in lines[-2]
    assert lines[-2].endswith("/provenance.json")
