"""Parts: what is written is what is read back, by us and by any engine, and damage is named."""

from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark.errors import TableError
from median_spark.expression import VALUES_SCHEMA, PartReader, RowGroup, write_part
from median_spark.expression.parts import cut_at_genes
from median_spark.gene_values import GeneValues

CELLS = np.array(["AAAC-1", "AAAG-1", "AACT-1"])


def runs_of(values, cells=None):
    """Return runs from {gene: values}; the cells of a run are numbered from 0 unless {gene: cells} is given."""
    lengths = [len(found) for found in values.values()]
    numbers = [cells[gene] if cells else range(len(found)) for gene, found in values.items()]
    return GeneValues(
        np.array(list(values)),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([np.asarray(found, dtype=np.float64) for found in values.values()]),
        np.concatenate([np.asarray(found, dtype=np.int32) for found in numbers]),
    )


def read(location, row_group, expected_rows):
    with PartReader(location) as reader:
        return reader.read(row_group, expected_rows)


@st.composite
def drawn_runs(draw):
    """Draw runs of some genes, some of them without a value, over cells whose ids may repeat."""
    names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=8)
    ids = draw(st.lists(names, min_size=1, max_size=20))
    genes = sorted(draw(st.sets(names, min_size=1, max_size=12)))
    cells = {gene: sorted(draw(st.sets(st.integers(0, len(ids) - 1)))) for gene in genes}
    cells[genes[0]] = cells[genes[0]] or [0]
    positive = st.floats(min_value=5e-324, max_value=1.7e308)
    values = {gene: [draw(positive) for _ in found] for gene, found in cells.items()}
    return runs_of(values, cells), np.array(ids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


@pytest.fixture
def part(tmp_path):
    """A part of three row groups of two rows, one gene each."""
    location = str(tmp_path / "part.parquet")
    write_part(location, runs_of({"A": [1.0, 2.0], "B": [3.0, 4.0], "C": [5.0, 6.0]}), CELLS, row_group_rows=2)
    return location


class TestRoundTrip:
    @given(drawn_runs(), st.integers(1, 30))
    def test_genes_and_values_come_back_bit_for_bit(self, folder, drawn, row_group_rows):
        runs, ids = drawn
        location = str(folder / "part.parquet")
        entry = write_part(location, runs, ids, row_group_rows)
        with PartReader(location) as reader:
            groups = [reader.read(number, group.rows) for number, group in enumerate(entry.row_groups)]
        for runs_of_group, group in zip(groups, entry.row_groups, strict=True):
            assert (runs_of_group.genes[0], runs_of_group.genes[-1]) == (group.gene_min, group.gene_max)
        wanted = runs.detected()
        assert [gene for group in groups for gene in group.genes.tolist()] == wanted.genes.tolist()
        assert [length for group in groups for length in group.lengths.tolist()] == wanted.lengths.tolist()
        assert b"".join(group.values.tobytes() for group in groups) == wanted.values.tobytes()

    @given(drawn_runs(), st.integers(1, 30))
    def test_every_row_has_its_cells_id(self, folder, drawn, row_group_rows):
        runs, ids = drawn
        location = str(folder / "part.parquet")
        write_part(location, runs, ids, row_group_rows)
        table = pq.read_table(location)
        assert table["cell"].to_pylist() == ids[runs.cells].tolist()
        assert table["gene"].to_pylist() == np.repeat(runs.genes, runs.lengths).tolist()

    def test_a_row_group_alone(self, part):
        found = read(part, 1, 2)
        assert found.genes.tolist() == ["B"]
        assert found.values.tolist() == [3.0, 4.0]

    def test_row_groups_in_any_order_and_again(self, part):
        with PartReader(part) as reader:
            found = [reader.read(number, 2).values.tolist() for number in (2, 0, 2)]
        assert found == [[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]

    def test_a_part_by_uri(self, part):
        assert read(f"file://{part}", 0, 2).values.tolist() == [1.0, 2.0]

    def test_values_are_one_contiguous_array_of_float64(self, tmp_path):
        n = 300_000  # more than one batch of Parquet's
        runs = runs_of({"A": np.arange(1.0, n + 1), "B": [0.5]})
        location = str(tmp_path / "part.parquet")
        write_part(location, runs, np.arange(n).astype(np.str_))
        found = read(location, 0, n + 1)
        assert found.genes.tolist() == ["A", "B"]
        assert found.values.tobytes() == runs.values.tobytes()

    def test_entry_says_what_was_written(self, part, tmp_path):
        location = str(tmp_path / "again.parquet")
        entry = write_part(location, runs_of({"A": [1.0], "B": [2.0, 3.0]}), CELLS)
        assert entry.name == "again.parquet"
        assert entry.size == Path(location).stat().st_size
        assert entry.row_groups == (RowGroup(3, "A", "B"),)

    def test_gene_without_a_value_is_not_written(self, tmp_path):
        location = str(tmp_path / "part.parquet")
        entry = write_part(location, runs_of({"A": [], "B": [2.0], "C": []}), CELLS)
        assert entry.row_groups == (RowGroup(1, "B", "B"),)

    @pytest.mark.parametrize("lacking", ["cells", "values"])
    def test_runs_that_make_no_part_are_refused(self, tmp_path, lacking):
        runs = runs_of({"A": [1.0]}) if lacking == "cells" else runs_of({"A": []})
        cells = None if lacking == "cells" else runs.cells
        with pytest.raises(ValueError, match="with cells, and at least one value"):
            write_part(str(tmp_path / "part.parquet"), GeneValues(runs.genes, runs.offsets, runs.values, cells), CELLS)
        assert list(tmp_path.iterdir()) == []

    def test_part_that_cannot_be_finished_leaves_nothing(self, tmp_path):
        with pytest.raises(pa.ArrowException):
            write_part(str(tmp_path / "part.parquet"), runs_of({"A": [1.0]}, {"A": [99]}), CELLS)
        assert list(tmp_path.iterdir()) == []


class TestRowGroups:
    @given(st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(sum), st.integers(1, 60))
    def test_cuts_cover_all_genes_with_values_in_order(self, lengths, rows):
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        cuts = list(cut_at_genes(offsets, rows))
        assert all(end == begin for (_, end), (begin, _) in pairwise(cuts))
        assert sum(offsets[last] - offsets[first] for first, last in cuts) == offsets[-1]
        assert all(offsets[last] > offsets[first] for first, last in cuts)

    @given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 60))
    def test_are_not_much_larger_than_wanted(self, lengths, rows):
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        largest = max(offsets[last] - offsets[first] for first, last in cut_at_genes(offsets, rows))
        assert largest <= 1.5 * rows + max(lengths)

    @given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
    def test_move_by_a_fifth_at_most(self, lengths, rows):
        offsets, genes = np.append(0, np.cumsum(lengths)), np.array([f"G{n:02d}" for n in range(len(lengths))])
        plain, moved = ([begin for begin, _ in cut_at_genes(offsets, rows, names)] for names in (None, genes))
        assert len(moved) <= max(1, round(offsets[-1] / rows))
        step = offsets[-1] / max(1, round(offsets[-1] / rows))
        exact = np.arange(1, round(offsets[-1] / rows)) * step
        for begin in set(moved) - set(plain):
            assert np.min(np.abs(exact - offsets[begin])) <= 0.2 * step + 1e-9

    def test_of_parts_with_like_genes_coincide(self):
        rng = np.random.default_rng(0)
        genes = np.array([f"ENSG{number:011d}" for number in range(20_000)])
        expected = rng.lognormal(4, 1, 20_000)
        parts = [np.append(0, np.cumsum(rng.poisson(expected * rng.lognormal(0, 0.5, 20_000)))) for _ in range(2)]
        without, moved = (
            [{begin for begin, _ in cut_at_genes(offsets, 70_000, names)} - {0} for offsets in parts]
            for names in (None, genes)
        )
        assert len(without[0] & without[1]) <= 1
        assert len(moved[0] & moved[1]) >= 10
        assert len(moved[0]) == len(without[0])

    def test_gene_larger_than_a_row_group_is_not_cut(self, tmp_path):
        runs = runs_of({"A": [1.0], "B": np.arange(1.0, 101), "C": [2.0]})
        ids = np.array([f"cell{number}" for number in range(100)])
        entry = write_part(str(tmp_path / "part.parquet"), runs, ids, row_group_rows=10)
        assert entry.row_groups == (RowGroup(101, "A", "B"), RowGroup(1, "C", "C"))

    def test_hold_what_the_entry_says(self, part):
        metadata = pq.ParquetFile(part).metadata
        assert [metadata.row_group(number).num_rows for number in range(3)] == [2, 2, 2]

    def test_have_statistics_of_the_gene_only(self, part):
        group = pq.ParquetFile(part).metadata.row_group(1)
        assert (group.column(0).statistics.min, group.column(0).statistics.max) == ("B", "B")
        assert group.column(2).statistics is None

    def test_each_have_a_dictionary_of_their_own_genes_only(self, part):
        file = pq.ParquetFile(part, read_dictionary=["gene"])
        found = [file.read_row_group(number).column("gene").chunk(0) for number in range(3)]
        assert [chunk.dictionary.to_pylist() for chunk in found] == [["A"], ["B"], ["C"]]


@pytest.fixture(scope="module")
def values_folder(tmp_path_factory):
    """Two sources, one with what a URL must encode in its name, one that is called by a number."""
    folder = tmp_path_factory.mktemp("expression") / "values"
    write_part(f"{folder}/source=2021/part-0.parquet", runs_of({"A": [1.5], "B": [2.5, 3.5]}), CELLS)
    write_part(f"{folder}/source=db%2Fstudy%201/part-0.parquet", runs_of({"A": [4.5]}), CELLS)
    return str(folder)


class TestOtherEngines:
    """Each opens the bare folder, without being told how it is built."""

    ROWS = (
        ("A", "AAAC-1", 1.5, "2021"),
        ("B", "AAAC-1", 2.5, "2021"),
        ("B", "AAAG-1", 3.5, "2021"),
        ("A", "AAAC-1", 4.5, "db/study 1"),
    )

    def test_pyarrow(self, values_folder):
        table = ds.dataset(values_folder, partitioning="hive").to_table()
        assert table.schema.types == [pa.string(), pa.string(), pa.float64(), pa.string()]
        assert tuple(zip(*table.to_pydict().values(), strict=True)) == self.ROWS

    def test_pyarrow_read_table(self, values_folder):
        table = pq.read_table(values_folder)
        assert table.schema.types[:3] == VALUES_SCHEMA.types
        assert tuple(zip(*table.to_pydict().values(), strict=True)) == self.ROWS

    def test_duckdb(self, values_folder):
        found = duckdb.sql(f"select * from read_parquet('{values_folder}') order by value")
        assert found.columns == ["gene", "cell", "value", "source"]
        assert [str(kind) for kind in found.types] == ["VARCHAR", "VARCHAR", "DOUBLE", "VARCHAR"]
        assert tuple(found.fetchall()) == self.ROWS

    def test_polars(self, values_folder):
        found = pl.read_parquet(values_folder).sort("value")
        assert found.schema == {"gene": pl.String, "cell": pl.String, "value": pl.Float64, "source": pl.String}
        assert tuple(found.rows()) == self.ROWS

    def test_a_single_part_has_the_schema_of_the_contract(self, values_folder):
        assert pq.read_schema(f"{values_folder}/source=2021/part-0.parquet").equals(VALUES_SCHEMA)


def written(location, genes, values, **options):
    pq.write_table(pa.table({"gene": genes, "cell": ["c"] * len(genes), "value": values}), location, **options)


class TestDamage:
    @pytest.mark.parametrize("keep", [0, 3, 100, -20, -1])
    def test_truncated(self, part, keep):
        content = Path(part).read_bytes()
        Path(part).write_bytes(content[:keep])
        with pytest.raises(TableError, match=f"{part}: this part cannot be read"):
            read(part, 0, 2)

    def test_overwritten_pages(self, part):
        content = bytearray(Path(part).read_bytes())
        content[4:200] = b"\xff" * 196
        Path(part).write_bytes(content)
        with pytest.raises(TableError, match=f"{part}: this part cannot be read"):
            read(part, 0, 2)

    def test_missing(self, tmp_path):
        with pytest.raises(TableError, match=r"nothing.parquet: this part is listed .* but not there"):
            read(str(tmp_path / "nothing.parquet"), 0, 2)

    def test_other_rows_than_recorded(self, part):
        with pytest.raises(TableError, match=rf"{part}: row group 1 has 2 rows where .* says 1,000"):
            read(part, 1, 1_000)

    def test_row_group_that_is_not_there(self, part):
        with pytest.raises(TableError, match=f"{part}: this part cannot be read"):
            read(part, 3, 2)

    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), None])
    def test_values_that_cannot_be(self, tmp_path, value):
        location = str(tmp_path / "part.parquet")
        written(location, ["A", "A"], pa.array([1.0, value]))
        with pytest.raises(TableError, match=f"{location}: values must be finite and above 0"):
            read(location, 0, 2)

    def test_row_without_a_gene(self, tmp_path):
        location = str(tmp_path / "part.parquet")
        written(location, ["A", None], [1.0, 2.0])
        with pytest.raises(TableError, match=f"{location}: .* genes present"):
            read(location, 0, 2)

    @pytest.mark.parametrize("genes", [["B", "A"], ["A", "B", "A"]])
    def test_genes_that_do_not_ascend(self, tmp_path, genes):
        location = str(tmp_path / "part.parquet")
        written(location, genes, [1.0] * len(genes))
        with pytest.raises(TableError, match=f"{location}: genes do not ascend"):
            read(location, 0, len(genes))

    @pytest.mark.parametrize("lacking", ["gene", "value"])
    def test_column_that_is_not_there(self, tmp_path, lacking):
        location = str(tmp_path / "part.parquet")
        columns = {"gene": ["A"], "value": [1.0]}
        pq.write_table(pa.table({name: column for name, column in columns.items() if name != lacking}), location)
        with pytest.raises(TableError, match=f"{location}: .*convert its source again"):
            read(location, 0, 1)

    def test_column_of_another_type(self, tmp_path):
        location = str(tmp_path / "part.parquet")
        written(location, ["A"], ["1.0"])
        with pytest.raises(TableError, match=f"{location}: .*convert its source again"):
            read(location, 0, 1)


class TestStored:
    def test_columns_are_compressed_with_snappy(self, part):
        group = pq.ParquetFile(part).metadata.row_group(0)
        assert {group.column(number).compression for number in range(3)} == {"SNAPPY"}

    def test_row_groups_have_about_half_a_million_rows(self, tmp_path):
        genes = {f"G{number:03d}": np.ones(10_000) for number in range(150)}
        entry = write_part(str(tmp_path / "part.parquet"), runs_of(genes), np.arange(10_000).astype(np.str_))
        assert len(entry.row_groups) == 3
        assert all(300_000 <= group.rows <= 700_000 for group in entry.row_groups)
        assert sum(group.rows for group in entry.row_groups) == entry.rows == 1_500_000
        assert [(group.gene_min, group.gene_max) for group in entry.row_groups] == [
            ("G000", "G046"),
            ("G047", "G105"),
            ("G106", "G149"),
        ]

    def test_a_part_of_an_earlier_version_in_zstd_is_read(self, tmp_path):
        location = str(tmp_path / "part.parquet")
        written(location, ["A", "A", "B"], [1.0, 2.0, 3.0], compression="zstd")
        found = read(location, 0, 3)
        assert (found.genes.tolist(), found.offsets.tolist()) == (["A", "B"], [0, 2, 3])
        assert found.values.tolist() == [1.0, 2.0, 3.0]


def test_a_reader_closes_its_file(part):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with PartReader(part) as reader:
        reader.read(0, 2)
        assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
        reader.close()  # once is enough
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_reader_of_a_damaged_part_leaves_no_file_open(part):
    Path(part).write_bytes(Path(part).read_bytes()[:100])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(TableError):
        PartReader(part)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
