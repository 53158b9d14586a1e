"""Columns about rows and cells: those of a short table are read once, of a long one only what a unit asks for."""

import numpy as np
import pytest
from h5ads import write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from reading import assert_same, read
from somas import write_soma
from zarrs import write_zarr

from median_spark.genes import select_genes
from median_spark.matrices import AttributeNames, ReadOptions, Unit, cell_filter, open_matrix, outline, tables, units
from median_spark.matrices.tables import StoredTable
from median_spark.matrices.units import read_unit, select_rows

GENES, CELLS = 20, 50


class Letters(StoredTable):
    """A table of one column that notes what is read."""

    location, noun, axis, columns = "letters", "column", "cells", ("letter",)

    def __init__(self, length):
        self.length, self.reads = length, []

    def read_values(self, column, first=0, last=None):
        self.reads.append((first, last))
        letters = np.array([chr(ord("a") + number % 26) for number in range(self.length)])
        return letters[first:last], np.zeros(self.length, dtype=bool)[first:last]


class TestStoredTables:
    def test_a_short_table_is_read_once(self):
        table = Letters(30)
        found = [table.values("letter", *some)[0].tolist() for some in ((), (3, 5), (28,), (0, 1), (7, 7))]
        assert found == [[chr(ord("a") + number % 26) for number in range(30)], ["d", "e"], ["c", "d"], ["a"], []]
        assert table.reads == [(0, None)]

    def test_what_a_caller_changes_stays_with_the_caller(self):
        table = Letters(30)
        for part in table.values("letter"):
            part[:] = "z" if part.dtype.kind == "U" else True
        values, missing = table.values("letter", 0, 2)
        assert (values.tolist(), missing.any()) == (["a", "b"], False)

    @pytest.mark.parametrize("limit", ["_KEPT_ENTRIES", "_KEPT_BYTES"])
    def test_what_is_large_is_not_kept(self, monkeypatch, limit):
        monkeypatch.setattr(tables, limit, 29)
        table = Letters(30)
        assert [table.values("letter", 3, 5)[0].tolist() for _ in range(2)] == [["d", "e"]] * 2
        assert table.reads == [(3, 5) if limit == "_KEPT_ENTRIES" else (0, None)] * 2


WRITERS = {
    "loom": write_loom,
    "h5ad": write_h5ad,
    "zarr": write_zarr,
    "soma": lambda path, counts, **columns: write_soma(path, np.asarray(counts, dtype=np.float32), obs=columns),
}


@pytest.fixture
def passed():
    return (np.arange(CELLS) % 3 > 0).astype(np.int64)


@pytest.mark.parametrize("name", WRITERS)
class TestUnits:
    @pytest.fixture
    def path(self, name, tmp_path, passed):
        counts = random_counts(np.random.default_rng(4), GENES, CELLS, density=0.4)
        totals = counts.sum(axis=0).astype(np.float64)
        return str(WRITERS[name](tmp_path / f"study.{name}", counts, n_counts=totals, filter_pass=passed))

    def test_units_read_the_filter_and_the_totals_of_their_own_cells(self, path, monkeypatch):
        monkeypatch.setattr(tables, "_KEPT_ENTRIES", 0)
        options = ReadOptions()
        with open_matrix(path, AttributeNames()) as matrix:
            selection, cells, asked = select_rows(matrix, options), matrix._cells, []
            reads = type(cells).read_values
            monkeypatch.setattr(
                type(cells),
                "read_values",
                lambda table, column, first=0, last=None: (
                    asked.append((column, first, last)) if table is cells else None,
                    reads(table, column, first, last),
                )[1],
            )
            read_unit(matrix, selection, Unit(1, 20, 30), options)
        ranges = {(column, first, last) for column, first, last in asked if (first, last) != (0, 1)}  # its kind
        assert {("filter_pass", 20, 30), ("n_counts", 20, 30)} <= ranges
        assert {(first, last) for _, first, last in ranges} == {(20, 30)}

    def test_values_do_not_depend_on_how_much_is_read_at_once(self, path, monkeypatch, passed):
        whole = read(path)
        with open_matrix(path, AttributeNames()) as matrix:
            described = outline(matrix, ReadOptions())
        monkeypatch.setattr(tables, "_KEPT_ENTRIES", 0)
        monkeypatch.setattr(cell_filter, "_AT_ONCE", 7)
        assert_same(read(path, cuts=[10, 33]), whole)
        with open_matrix(path, AttributeNames()) as matrix:
            again = outline(matrix, ReadOptions())
        assert (again.median_n_counts, again.cells_passed) == (described.median_n_counts, described.cells_passed)
        assert again.cells_passed == passed.sum()


@given(
    st.lists(
        st.one_of(st.text(max_size=5).map(str.encode), st.binary(max_size=5), st.text(max_size=5)), max_size=6
    ).flatmap(lambda texts: st.sampled_from([texts, [text for text in texts if isinstance(text, bytes)]]))
)
def test_strings_are_decoded_one_by_one(stored):
    expected = [text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text for text in stored]
    held = np.empty(len(stored), dtype=object)
    held[:] = stored
    assert tables.as_strings(held).tolist() == np.array(expected, dtype=np.str_).tolist()


def test_rows_are_selected_once_for_sources_with_the_same_genes(tmp_path, monkeypatch):
    asked = []

    def select(location, *arguments, **options):
        asked.append(location)
        return select_genes(location, *arguments, **options)

    monkeypatch.setattr(units, "select_genes", select)
    rng = np.random.default_rng(8)
    ids = [f"ENSG{number:011d}" for number in range(700, 700 + GENES)]  # of no other test
    paths = [tmp_path / f"{name}.h5ad" for name in ("first", "second", "third", "fourth")]
    for path, genes in zip(paths, [ids, ids, ids[::-1], ids], strict=True):
        write_h5ad(path, random_counts(rng, GENES, CELLS), ensembl_id=genes)
    found = []
    for path, types in zip(paths, [("protein_coding",)] * 3 + [("protein_coding", "miRNA")], strict=True):
        options = ReadOptions(gene_types=types)
        with open_matrix(str(path), options.names, options.layer) as matrix:
            selection = select_rows(matrix, options)
            found.append(selection.genes[selection.gene_of_row].tolist())
    assert asked == [str(path) for number, path in enumerate(paths) if number != 1]
    assert found == [ids, ids, ids[::-1], ids]
