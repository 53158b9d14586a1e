"""An expression table on an S3 server: what a commit that is killed leaves, what resumes, what is swept."""

from dataclasses import replace

import pyarrow.dataset as ds
import pytest
from tables import stage_source

from median_spark import storage
from median_spark.expression import create_table, open_table, read_cells

pytestmark = [pytest.mark.cluster, pytest.mark.s3]


class KilledError(Exception):
    """What stands for a process that is killed: nothing that comes after it is done."""


@pytest.fixture
def table(server, request):
    return create_table(f"{server.bucket}/{request.node.name}")


def visible(table):
    filesystem, path = storage.resolve(table.values)
    return sorted(ds.dataset(path, filesystem=filesystem, partitioning="hive").to_table()["value"].to_pylist())


def kept(table):
    """Return the names of the files of cells, and check that records list all of them and they can be read."""
    names = set(below(table.cells))
    listed = {
        f"source={storage.encode_name(record.source)}/{entry.name}"
        for record in table.sources()
        for entry, cells in read_cells(table, record, ["cell"])
        if entry.rows == len(cells)
    }
    assert names == listed
    return names


def below(folder):
    return [file.path[len(folder) + 1 :] for file in storage.files_below(folder)]


def kill_after(monkeypatch, name, calls=0):
    """Let the process die at a call of a function of storage."""
    original, left = getattr(storage, name), [calls]

    def dying(*given):
        if not left[0]:
            raise KilledError
        left[0] -= 1
        return original(*given)

    monkeypatch.setattr(storage, name, dying)


def test_a_commit_replaces_a_source_and_clears_the_staging(table):
    table.commit(stage_source(table, "a/x", "c0", [1.0]))
    table.commit(stage_source(table, "b", "c1", [5.0]))
    table.commit(stage_source(table, "a/x", "c2", [2.0, 3.0]))
    assert visible(table) == [2.0, 2.0, 3.0, 3.0, 5.0, 5.0]
    assert [record.conversion for record in table.sources()] == ["c2", "c1"]
    assert below(storage.join(table.location, "staging")) == []
    assert storage.names_in(table.values) == ["source=a%2Fx", "source=b"]
    assert len(kept(table)) == 4


@pytest.mark.parametrize("step", ["write_bytes", "remove"])
def test_a_commit_that_is_killed_loses_no_unit_and_can_be_done_again(table, monkeypatch, step):
    table.commit(stage_source(table, "a", "c0", [1.0]))
    record = stage_source(table, "a", "c1", [2.0])
    kill_after(monkeypatch, step)
    with pytest.raises(KilledError):
        table.commit(record)
    monkeypatch.undo()
    committed = table.sources()[0]
    assert committed.conversion == ("c0" if step == "write_bytes" else "c1")
    held = below(storage.join(table.values, "source=a"))
    assert {part.name for part in committed.parts} <= set(held)
    # The next run finds all units staged, and takes away what belongs to nothing.
    assert {name: set(found) for name, found in table.staging.records({"c1": set(), "c9": set()}).items()} == {
        "c1": {0, 1}
    }
    table.discard_leftovers(keep={"c1"}, records=table.sources())
    assert visible(table) == ([1.0, 1.0] if step == "write_bytes" else [2.0, 2.0])
    assert len(kept(table)) == 2
    again = {
        field: tuple(replace(entry, name=entry.name.replace("c1", "cx")) for entry in getattr(record, field))
        for field in ("parts", "cells_parts")
    }
    table.commit(replace(record, **again))
    assert visible(table) == [2.0, 2.0]
    assert len(below(table.values)) == len(kept(table)) == 2


def test_many_conversions_under_way_are_looked_at_by_one_listing(table, server):
    for number in range(12):
        stage_source(table, f"s{number}", f"c{number}", [1.0])
    known = {f"c{number}": {0} if number % 2 else set() for number in range(20)}
    server.asked()
    found = table.staging.records(known)
    listings = [each for each in server.asked() if "list-type=2" in each["asked"]]
    assert len(listings) == 1
    assert {name: sorted(units) for name, units in found.items()} == {
        f"c{number}": [1] if number % 2 else [0, 1] for number in range(12)
    }


def test_leftovers_are_found_by_few_listings(table, server):
    for number in range(8):
        table.commit(stage_source(table, f"s{number}", f"c{number}", [1.0]))
    stage_source(table, "stale", "c99", [1.0])
    storage.write_bytes(storage.join(table.values, "source=s0", "part-00007-stray.parquet"), b"1")
    storage.write_bytes(storage.join(table.cells, "source=gone", "part-00000-stray.parquet"), b"1")
    storage.write_bytes(storage.join(table.values, "source=gone", "part-00000-stray.parquet"), b"1")
    server.asked()
    table.discard_leftovers(keep=set(), records=table.sources())
    assert len([each for each in server.asked() if "list-type=2" in each["asked"]]) < 16
    assert visible(open_table(table.location)) == [1.0] * 16
    assert table.staging.records({"c99": set()}) == {}
    assert len(storage.names_in(table.values)) == 8
    assert len(kept(table)) == 16
