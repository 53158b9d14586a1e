"""CSV outputs: a spreadsheet computes none of their texts, and every text reads back to the same."""

import csv
import io
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import COMPRESSION, digests_of, record_of

from median_spark.csv_text import csv_text, original_text
from median_spark.expression import FailureRecord
from median_spark.report.other_medians import read_medians
from median_spark.results import figures_of, median_table, provenance_of, write_result
from median_spark.verification.outcome import Verification
from median_spark.verification.result import check_files

FORMULAS = [f"{quotes}{sign}SUM(A1)" for sign in "=+-@\t\r\n＝＋－＠" for quotes in ("", "'", "''")]
ORDINARY = [
    "ENSG00000123456",
    "ENSG00000123456.12",
    "ENSMUSG00000000001",
    "gé",
    "HLA-DRB1",
    "a=b",
    "'quoted'",
    " =1",
    "",
]
texts = st.one_of(
    st.sampled_from(FORMULAS + ORDINARY),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    st.text("=+-@'\t\r\n\",;a1", max_size=6),
)


def computed(cell):
    """Say whether a spreadsheet would take a cell for a formula."""
    return cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))


@given(st.lists(texts, min_size=1, max_size=8))
@example(FORMULAS)
def test_no_text_is_computed_and_all_read_back(found):
    table = pa.table({"gene": pa.array(found, pa.string()), "n": pa.array(range(len(found)), pa.int64())})
    cells = [row["gene"] for row in csv.DictReader(io.StringIO(csv_text(table), newline=""))]
    assert not [cell for cell in cells if computed(cell)]
    assert [original_text(cell) for cell in cells] == found


times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))
rows = st.tuples(
    st.none() | st.sampled_from(ORDINARY),
    st.none() | st.floats(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | times,
)


@given(st.lists(rows, min_size=1))
def test_ordinary_texts_and_numbers_are_written_as_pandas_writes_them(found):
    types = (pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us", "UTC"))
    columns = [pa.array(column, kind) for column, kind in zip(zip(*found, strict=True), types, strict=True)]
    table = pa.table(columns, names=["gene", "median", "n", "exact", "time"])
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    expected = table.to_pandas(types_mapper=nullable.get).to_csv(
        index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%SZ"
    )
    assert csv_text(table) == expected


@pytest.fixture
def result(tmp_path):
    """A result whose genes, sources and place are all texts that a spreadsheet would compute."""
    rng = np.random.default_rng(5)
    values = {gene: rng.lognormal(size=20) for gene in sorted(FORMULAS)}
    merged = digests_of(values)
    records = [record_of(name, values=10) for name in ("=1+1", "@x")]
    failures = [FailureRecord("+3", "/looms/+3.loom", "is cut off")]
    table = median_table(merged, None)
    provenance = provenance_of("/expression", records, failures, {"compression": COMPRESSION}, "4.0")
    write_result(str(tmp_path / "result"), table, merged, figures_of(records, failures), provenance)
    return tmp_path / "result", table


def test_a_result_of_such_texts_is_harmless_verifies_and_compares(result):
    folder, table = result
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as lines:
            cells = [cell for row in csv.reader(lines) for cell in row]
        assert not [cell for cell in cells if computed(cell)]
    done = Verification()
    check_files(done, str(folder), table)
    assert done.differences == []
    found = read_medians(str(folder / "medians.csv"))
    assert list(found.medians) == table["gene"].to_pylist()
