"""Which cells of a table are taken, and their groups: as pandas says, over sources, units and kinds of attributes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import record_of

from examples import examples
from median_spark.errors import TableError
from median_spark.expression import CellGroups, PartEntry, RowGroup, all_cells, create_table, group_cells, write_cells
from median_spark.matrices import CellQuery

TYPES = {
    "cell": pa.string(),
    "n_counts": pa.float64(),
    "n_genes": pa.int32(),
    "n_values": pa.int32(),
    "assay": pa.string(),
    "age": pa.int64(),
    "score": pa.float64(),
    "ok": pa.bool_(),
}

QUERIES = (
    None,
    "age > 2",
    "assay == 'smart' or ok",
    "assay in ['10x', 'smart'] and not ok",
    "n_counts >= 50 and score < 0.5",
    "source == 's1' or n_genes < 3",
    "assay != 'smart'",
)

GROUPINGS = ((), ("source",), ("assay",), ("age", "ok"), ("score",), ("source", "assay"))


def frame_of(rng, cells, *, assay=True):
    """Draw what is known of some cells."""
    frame = pd.DataFrame(
        {
            "cell": [f"c{number}" for number in range(cells)],
            "n_counts": rng.integers(1, 100, cells).astype(float),
            "n_genes": rng.integers(1, 9, cells).astype(np.int32),
            "n_values": rng.integers(0, 5, cells).astype(np.int32),
            "age": rng.choice([-2, 0, 3, 9, 10, 100], cells),
            "score": np.where(rng.random(cells) < 0.2, np.nan, rng.integers(0, 4, cells) / 4),
            "ok": rng.random(cells) < 0.5,
        }
    )
    if assay:
        drawn = rng.choice(["10x", "smart", "", "none"], cells)
        frame["assay"] = pd.Series(np.where(drawn == "none", None, drawn), dtype=object)
    return frame


def write_sources(folder, sources):
    """Write the cells of {source: frames of its units}, and return the table and the records."""
    table, records = create_table(str(folder)), []
    for source, units in sources.items():
        parts, entries = [], []
        for number, frame in enumerate(units):
            name = f"part-{number:05d}-abc.parquet"
            content = pa.table({each: pa.array(frame[each], TYPES[each], from_pandas=True) for each in frame.columns})
            entries.append(write_cells(f"{table.cells}/source={source}/{name}", content))
            if frame["n_values"].any():
                parts.append(PartEntry(name, 1, (RowGroup(int(frame["n_values"].sum()), "A", "B"),)))
        columns = tuple((each, str(TYPES[each])) for each in units[0].columns)
        every = pd.concat(units)
        records.append(
            record_of(
                source,
                parts=parts,
                cells_parts=tuple(entries),
                cell_columns=columns,
                cells_passed=len(every),
                median_n_counts=float(every["n_counts"].median()),
            )
        )
    return table, records


def text_of(value):
    """Return the text that stands for a value of a grouping column."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


@given(
    st.integers(0, 2**32),
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=3), min_size=1, max_size=4),
    st.sampled_from(QUERIES),
    st.sampled_from(GROUPINGS),
)
@examples(60)
def test_cells_and_groups_are_those_that_pandas_finds(tmp_path_factory, seed, sizes, query, by):
    rng = np.random.default_rng(seed)
    sources = {f"s{number}": [frame_of(rng, cells) for cells in units] for number, units in enumerate(sizes)}
    table, records = write_sources(tmp_path_factory.mktemp("table") / "x", sources)
    whole = pd.concat(
        [
            frame.assign(source=source, unit=unit, place=range(len(frame)))
            for source, units in sources.items()
            for unit, frame in enumerate(units)
        ],
        ignore_index=True,
    )
    taken = whole if query is None else whole.query(query)
    cell_query = CellQuery(query) if query is not None else None
    if not len(taken):
        with pytest.raises(TableError, match=r"x: cells chooses no cell of \d+ sources?: '"):
            group_cells(table, records, cell_query, by)
        return
    found = group_cells(table, records, cell_query, by)
    keys = (
        list(zip(*([text_of(value) for value in taken[name]] for name in by), strict=True)) if by else [()] * len(taken)
    )
    numeric = [name in ("age", "score") for name in by]
    groups = sorted(
        set(keys),
        key=lambda group: [
            (value is None, (float(value) if number else value) if value is not None else 0)
            for value, number in zip(group, numeric, strict=True)
        ],
    )
    assert list(found.groups) == groups
    assert [record.source for record in found.records] == sorted(set(taken["source"]))
    if query is None and not set(by) - {"source"}:
        return
    numbers = np.array([groups.index(key) for key in keys])
    for number, figures in enumerate(found.figures):
        own = taken[numbers == number]
        assert figures.sources == own["source"].nunique()
        assert (figures.cells, figures.values) == (len(own), own["n_values"].sum())
        assert figures.median_n_counts == own["n_counts"].median()
    for record in found.records:
        own = taken[taken["source"] == record.source]
        assert (record.cells_passed, record.values) == (len(own), own["n_values"].sum())
        assert record.median_n_counts == own["n_counts"].median()
    held = {(source, unit): np.full(len(f), -1) for source, units in sources.items() for unit, f in enumerate(units)}
    for (source, unit, place), number in zip(
        taken[["source", "unit", "place"]].itertuples(index=False, name=None), numbers, strict=True
    ):
        held[source, unit][place] = number
    for (source, unit), expected in held.items():
        name = f"part-{unit:05d}-abc.parquet"
        of_part = found.cells.get((source, name))
        values = sources[source][unit]["n_values"].to_numpy()
        if not values[expected >= 0].any():
            assert of_part is None
        elif isinstance(of_part, CellGroups):
            assert of_part.groups.tolist() == expected.tolist()
        else:
            assert set(expected.tolist()) == {of_part}
    only = np.arange(len(groups)) % 2 == 0
    for part, of_part in found.only(only).cells.items():
        before = found.cells[part]
        left = of_part.groups if isinstance(of_part, CellGroups) else np.array([of_part])
        all_of_it = before.groups if isinstance(before, CellGroups) else np.array([before])
        assert left.tolist() == [number if number >= 0 and only[number] else -1 for number in all_of_it]


@pytest.fixture
def mixed(tmp_path):
    rng = np.random.default_rng(3)
    sources = {"a": [frame_of(rng, 20)], "b": [frame_of(rng, 20, assay=False)], "c": [frame_of(rng, 9, assay=False)]}
    return write_sources(tmp_path / "x", sources)


def test_without_query_or_groups_nothing_is_read(mixed):
    table, records = mixed
    old = [replace(record, cells_parts=None, cell_columns=()) for record in records]
    assert group_cells(table, old) == all_cells(old)
    by_source = group_cells(table, old, None, ("source",))
    assert by_source.groups == (("a",), ("b",), ("c",))
    assert [figures.cells for figures in by_source.figures] == [20, 20, 9]
    with pytest.raises(TableError, match="source 'a' was converted by a version that kept no cells: convert it again"):
        group_cells(table, old, CellQuery("source == 'a'"))


def test_a_column_that_only_some_sources_have_is_said_and_a_group_of_its_own(mixed):
    table, records = mixed
    found = group_cells(table, records, None, ("assay",))
    assert found.groups[-1] == (None,)
    assert found.figures[-1].sources >= 2
    assert found.notes == ("note: 2 sources of 3 have no 'assay' ('b', 'c'): their cells are a group of their own",)
    with pytest.raises(TableError, match=r"2 sources of 3 have no 'assay' \('b', 'c'\): leave it out of by, or name"):
        group_cells(table, records, None, ("assay",), missing="fail")


def test_a_cell_without_a_value_can_be_an_error_if_it_is_taken(mixed):
    table, records = mixed
    with pytest.raises(TableError, match="cells of 'a' have no value of 'score'"):
        group_cells(table, records, None, ("score",), missing="fail")
    assert None not in {
        group for (group,) in group_cells(table, records, CellQuery("score >= 0"), ("score",), missing="fail").groups
    }


def test_a_column_that_no_source_has_is_refused_with_what_there_is(mixed):
    table, records = mixed
    for query, by in ((None, ("tissue",)), (CellQuery("tissue == 'lung'"), ())):
        with pytest.raises(TableError, match=r"no cell has the attribute 'tissue'; there are 'age', 'assay', 'cell'"):
            group_cells(table, records, query, by)


def test_a_query_that_names_what_a_source_lacks_says_which(mixed):
    table, records = mixed
    with pytest.raises(TableError, match=r"names 'assay', which the cells of 2 sources lack \('b', 'c'\); b has 'age'"):
        group_cells(table, records, CellQuery("assay == 'smart'"))
    found = group_cells(table, records[:1], CellQuery("assay == 'smart'"))
    assert [record.source for record in found.records] == ["a"]


def test_a_query_that_leaves_nothing_says_what_the_attributes_hold(mixed):
    table, records = mixed
    with pytest.raises(
        TableError,
        match=r"chooses no cell of 3 sources: 'ok' holds '(True|False)', '(True|False)'; 'age' holds -2 to 100",
    ):
        group_cells(table, records, CellQuery("ok and age > 190"))


def test_many_totals_are_counted_some_at_a_time(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    table, records = write_sources(tmp_path / "x", {f"s{n}": [frame_of(rng, 40), frame_of(rng, 7)] for n in range(9)})
    at_once = group_cells(table, records, None, ("age",))
    monkeypatch.setattr("median_spark.expression.taking._PENDING_TOTALS", 5)
    assert group_cells(table, records, None, ("age",)) == at_once


def test_a_file_of_cells_that_is_gone_is_named(mixed):
    table, records = mixed
    from pathlib import Path

    Path(f"{table.cells}/source=b/part-00000-abc.parquet").unlink()
    with pytest.raises(TableError, match=r"source=b/part-00000-abc\.parquet: this file is listed .* but not there"):
        group_cells(table, records, None, ("age",))
