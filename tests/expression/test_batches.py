"""Batches: many small sources looked at and converted by one task, and what a killed run leaves of them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom
from tables import content

from median_spark import storage
from median_spark.expression import (
    SMALL_BYTES,
    Looking,
    WantedSource,
    conversion_fingerprint,
    create_table,
    stage_batch,
    stage_unit,
)
from median_spark.guard import DEFAULT_LIMITS, Kept
from median_spark.matrices import ReadOptions, Unit, find_sources

READING = ReadOptions()
SOFTWARE = {"median_spark": "0"}


@pytest.fixture
def table(tmp_path):
    return create_table(str(tmp_path / "x"))


@pytest.fixture
def corpus(tmp_path):
    """A loom, an h5ad, one without values and one that is no matrix."""
    rng = np.random.default_rng(5)
    write_loom(tmp_path / "in" / "a.loom", random_counts(rng, 60, 40))
    write_h5ad(tmp_path / "in" / "b.h5ad", random_counts(rng, 50, 30))
    write_loom(tmp_path / "in" / "empty.loom", np.zeros((60, 10), int))
    (tmp_path / "in" / "no.loom").write_bytes(b"nothing")
    return tmp_path / "in"


def wanted(corpus):
    return [
        WantedSource(source, conversion_fingerprint(source.name, source.file, READING.as_json()))
        for source in find_sources([str(corpus)])
    ]


def stage(table, sources, unit_entries=20_000_000, small_bytes=SMALL_BYTES):
    looking = Kept.of(Looking(table, READING, unit_entries, None, "run", small_bytes))
    return stage_batch(sources, looking, table.staging, SOFTWARE, DEFAULT_LIMITS)


def test_small_sources_are_staged_and_one_that_cannot_be_read_is_told(table, corpus):
    outcomes = stage(table, wanted(corpus))
    (batch,) = table.staging.batches()
    assert [one.batch for one in outcomes] == [batch, batch, batch, None]
    assert [one.error is None for one in outcomes] == [True, True, True, False]
    assert "no.loom" in outcomes[3].error
    records = table.staged_batch(batch)
    assert [(record.source, bool(record.parts)) for record in records] == [("a", True), ("b", True), ("empty", False)]
    assert table.sources() == []


def test_parts_have_the_bytes_of_those_that_are_read_by_units(table, corpus):
    sources = wanted(corpus)[:2]
    stage(table, sources)
    (batch,) = table.staging.batches()
    for one, record in zip(sources, table.staged_batch(batch), strict=True):
        unit = Unit(0, 0, record.cells)
        stage_unit(table.staging, one.source.file, one.conversion, unit, READING)
        by_unit = Path(table.staging.unit(one.conversion, 0)[0])
        assert by_unit.read_bytes() == Path(table.staging.batch_part(batch, one.conversion)).read_bytes()
        assert record.parts[0].size == by_unit.stat().st_size
        cells = Path(table.staging.unit_cells(one.conversion, 0))
        assert cells.read_bytes() == Path(table.staging.batch_cells(batch, one.conversion)).read_bytes()
        assert record.cells_parts[0].size == cells.stat().st_size


@pytest.mark.parametrize("why", ["large", "units"])
def test_a_source_that_is_large_or_of_several_units_is_only_looked_at(table, corpus, why):
    write_loom(corpus / "a.loom", random_counts(np.random.default_rng(5), 60, 640))
    limits = (20_000_000, 10) if why == "large" else (500, SMALL_BYTES)
    (outcome,) = stage(table, wanted(corpus)[:1], *limits)
    assert (outcome.batch, outcome.error) == (None, None)
    assert outcome.head.cells == 640
    assert (len(outcome.head.units) == 1) == (why == "large")
    assert table.staging.batches() == set()


def test_a_file_that_changed_since_it_was_found_is_told(table, corpus):
    sources = wanted(corpus)[:1]
    write_loom(corpus / "a.loom", random_counts(np.random.default_rng(6), 60, 50))
    (outcome,) = stage(table, sources)
    assert outcome.error == f"{corpus}/a.loom: this file was changed while it was being read; convert it again"
    assert table.staging.batches() == set()


def test_a_batch_that_is_committed_is_what_engines_read(table, corpus):
    sources = wanted(corpus)
    stage(table, sources)
    (batch,) = table.staging.batches()
    records = table.staged_batch(batch)
    table.commit_all([table.staged_in_batch(record, batch) for record in records], set())
    table.staging.discard_batch(batch)
    assert table.sources() == records
    assert len(pq.read_table(table.values)) == sum(record.values for record in records)
    assert len(pq.read_table(table.cells)) == sum(record.cells_passed for record in records)
    assert content(table.staging.location) == {}


@pytest.mark.parametrize("moved", [("batch_part",), ("batch_cells",), ("batch_part", "batch_cells")])
def test_of_a_batch_whose_commit_was_killed_the_rest_is_kept(table, corpus, moved):
    stage(table, wanted(corpus))
    (batch,) = table.staging.batches()
    first = table.staged_batch(batch)[0]
    for kind in moved:  # and then removed as a leftover
        Path(getattr(table.staging, kind)(batch, first.conversion)).unlink()
    assert table.staged_batch(batch) is None
    assert [record.source for record in table.staged_batch(batch, partly=True)] == ["b", "empty"]


def test_leftovers_of_unfinished_batches_go_and_finished_ones_stay_if_wanted(table, corpus):
    sources = wanted(corpus)
    stage(table, sources)
    (batch,) = table.staging.batches()
    storage.write_bytes(table.staging.batch_part("unfinished", "c9"), b"half")
    table.discard_leftovers(keep={sources[0].conversion}, records=[])
    assert Path(table.staging.batch_part(batch, sources[0].conversion)).exists()
    assert not Path(table.staging.batch_folder("unfinished")).exists()
    table.discard_leftovers(keep=set(), records=[])
    assert content(table.staging.location) == {}


def test_a_run_that_was_stopped_begins_no_batch(table, corpus):
    storage.write_bytes(table.staging.stop, b"")
    assert {one.error for one in stage(table, wanted(corpus))} == {"this source was not looked at: the run was stopped"}
    assert table.staging.batches() == set()
