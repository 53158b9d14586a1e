"""Tables and results of format version 1, as earlier code wrote them: read today, or refused with what to do.

`tests/data/version1` has a table and its result of the first version that refined medians, made of two looms, and a
table of the version before, whose records have no warnings yet.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from median_spark import inspect, merge, verify, write_report
from median_spark.digests import digest_sweep
from median_spark.errors import TableError
from median_spark.expression import create_table, open_table, plan_sweeps, require_uniform
from median_spark.genes import RowCounts

VERSION_1 = Path(__file__).parent / "data" / "version1"


@pytest.fixture
def stored(tmp_path):
    """Return a copy of what earlier code wrote."""
    return shutil.copytree(VERSION_1, tmp_path / "version1")


def set_version(path, version):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))


class TestTable:
    def test_its_records_are_read(self, stored):
        table = open_table(str(stored / "table"))
        records = table.sources()
        assert [(record.source, record.cells_passed, record.values) for record in records] == [
            ("b", 30, 209),
            ("db/a", 30, 211),
        ]
        for record in records:
            assert record.row_counts == RowCounts(12, 12, 12, 0, 0, 0, 12, 0, ())
            assert (record.target_sum, record.gene_types) == (10_000.0, ("miRNA", "protein_coding"))
            assert (record.gene_map, record.median_n_counts) == (None, None)
        require_uniform(table.location, records)

    def test_a_record_says_today_what_it_said(self, stored):
        table = open_table(str(stored / "table"))
        for record, path in zip(table.sources(), sorted((stored / "table" / "sources").iterdir()), strict=True):
            before, now = json.loads(path.read_text()), json.loads(json.dumps(record.as_json()))
            apart = {"census": None, "format_version": None}
            assert {name: now[name] for name in before} | apart == before | apart
            assert {name: now["census"][name] for name in before["census"]} == before["census"]

    def test_its_medians_are_those_of_its_result(self, stored):
        table = open_table(str(stored / "table"))
        records = table.sources()
        plan = plan_sweeps(table.values, records, table.universe(records))
        rows = [
            row
            for number in range(plan.sweeps)
            for batch in digest_sweep(plan, number, 200.0, exact=True)
            for row in batch.to_pylist()
        ]
        written = pq.read_table(stored / "result" / "medians.parquet").to_pylist()
        assert [(row["gene"], row["median"], row["n"]) for row in rows] == [
            (row["gene"], row["median"], row["n_cells"]) for row in written
        ]

    def test_it_may_take_further_sources(self, stored):
        assert create_table(str(stored / "table")) == open_table(str(stored / "table"))

    def test_it_can_be_inspected(self, stored):
        assert ("can be used", "yes") in inspect(str(stored / "table"))

    def test_without_warnings_it_is_refused_with_what_to_do(self, stored):
        advice = r"db%2Fa\.json: this record is damaged .*'warnings'.*: delete this file, and convert its source again$"
        with pytest.raises(TableError, match=advice):
            open_table(str(stored / "first_table")).sources()

    @pytest.mark.parametrize(
        ("version", "advice"), [(0, "convert the sources again into a new table"), (3, "upgrade median_spark")]
    )
    def test_of_another_version_it_is_refused_with_what_to_do(self, stored, version, advice):
        set_version(stored / "table" / "format.json", version)
        with pytest.raises(TableError, match=f"format version {version}; this version .* reads 1 and 2: {advice}$"):
            open_table(str(stored / "table"))


class TestResult:
    def test_it_is_what_its_table_says(self, stored):
        assert verify(str(stored / "table"), str(stored / "result")).differences == []

    def test_it_can_be_inspected(self, stored):
        found = dict(inspect(str(stored / "result")))
        assert (found["sources"], found["values"], found["medians"].partition(";")[0]) == ("2", "420", "exact")

    def test_it_can_be_merged(self, stored, tmp_path):
        summary = merge([str(stored / "result")], str(tmp_path / "merged"))
        assert (summary.sources, summary.values) == (2, 420)
        old, new = (pq.read_table(folder / "medians.parquet") for folder in (stored / "result", tmp_path / "merged"))
        assert old["n_cells"].equals(new["n_cells"])
        assert np.array_equal(old["median"].to_numpy(), new["median"].to_numpy())

    def test_it_has_a_page(self, stored):
        assert Path(write_report(str(stored / "result"))).stat().st_size

    def test_of_another_version_it_is_refused(self, stored):
        set_version(stored / "result" / "summary.json", 3)
        with pytest.raises(TableError, match="format version 3; this version of median_spark reads 1 and 2"):
            inspect(str(stored / "result"))
