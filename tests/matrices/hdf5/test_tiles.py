"""Tiles: the cells and values that numpy finds in the whole matrix, by the way that is meant, and damage is named."""

import os
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from oracle import loom_values
from reading import assert_same, number_types
from reading import read as read_loom

from examples import examples
from median_spark.errors import InputError
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix
from median_spark.matrices.hdf5.arrays import AxisLabels, Grid
from median_spark.matrices.hdf5.tiles import _GAP_BYTES, MOST_INFLATED_BYTES

ROWS, CELLS = 53, 41
BIG = (300, 200)
TILES = {"chunks": (16, 16), "compression": "gzip"}


READ_AS = {"<f16": np.dtype(np.float64), "|b1": np.dtype("u1"), "<f2": np.dtype("f4"), ">f2": np.dtype("f4")}
"""Types that are widened: compiled code has none of them."""


def by_tiles(path):
    """Say whether a loom's matrix is read tile by tile, and not by h5py."""
    with h5py.File(path) as file:
        return Grid(path, file["matrix"], AxisLabels("the matrix")).inflated


def tile_infos(path):
    """Return HDF5's own index of the tiles."""
    with h5py.File(path) as file:
        matrix = file["matrix"].id
        return [matrix.get_chunk_info(number) for number in range(matrix.get_num_chunks())]


def stored_tile(path, row, cell):
    with h5py.File(path) as file:
        return file["matrix"].id.get_chunk_info_by_coord((row, cell))


def overwrite(path, offset, content):
    with Path(path).open("r+b") as file:
        file.seek(offset)
        file.write(content)


def spoil(path, row, cell):
    """Overwrite all of a tile's bytes."""
    tile = stored_tile(path, row, cell)
    overwrite(path, tile.byte_offset, b"\xff" * tile.size)


def entries(path, rows, first, last, taken):
    with open_matrix(str(path), AttributeNames()) as matrix:
        return matrix.entries(np.asarray(rows, np.int64), first, last, np.asarray(taken, np.bool_))


def assert_reads(path, counts, rows, first, last, taken):
    """See that the entries and totals of a loom are those of its counts."""
    rows, taken = np.asarray(rows, np.int64), np.asarray(taken, np.bool_)
    found = entries(path, rows, first, last, taken)
    place, cells = np.nonzero((counts[rows, first:last] != 0) & taken)
    assert found.lengths.tolist() == np.bincount(place, minlength=len(rows)).tolist()
    assert found.cells.tolist() == cells.tolist()
    expected = counts[rows, first:last][place, cells]
    assert found.counts.dtype == READ_AS.get(counts.dtype.str, counts.dtype.newbyteorder("="))
    assert np.array_equal(found.counts, expected, equal_nan=True)
    with open_matrix(str(path), AttributeNames()) as matrix:
        totals = matrix.cell_totals(first, last)
    with np.errstate(invalid="ignore"):
        summed = np.add.accumulate(counts[:, first:last].astype(np.float64), axis=0)[-1]
    assert np.array_equal(totals, summed, equal_nan=True)


def assert_reads_everywhere(path, counts):
    """The same for all of it, for cuts that tiles do not share, and for some rows and cells only."""
    rows, cells = counts.shape
    every = np.arange(rows)
    for first, last in {(0, cells), (0, 1), (cells - 1, cells), (cells // 3, 2 * cells // 3 + 1)}:
        assert_reads(path, counts, every, first, last, np.ones(last - first))
    assert_reads(path, counts, every[1::7], 0, cells, np.arange(cells) % 3 == 1)
    assert_reads(path, counts, every[-1:], cells // 2, cells, np.arange(cells - cells // 2) == 0)
    assert_reads(path, counts, every[:0], 0, cells, np.ones(cells))
    assert_reads(path, counts, every, 0, cells, np.zeros(cells))


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(7), ROWS, CELLS, density=0.3)


SHAPES = [
    (16, 16),
    (7, 5),
    (5, 9),
    (10, 12),
    (8, 24),
    (3, 8),
    (ROWS, 1),
    (1, 1),
    (1, CELLS),
    (ROWS, CELLS),
    (52, 40),
    (27, 21),
]


class TestShapes:
    @pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
    def test_tiles_of_any_shape(self, tmp_path, counts, shape):
        path = write_loom(tmp_path / "s.loom", counts, storage={"chunks": shape, "compression": "gzip"})
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)
        assert_same(read_loom(path), loom_values(path)[0])

    def test_tiles_larger_than_the_matrix(self, tmp_path, counts):
        storage = {"chunks": (100, 100), "compression": "gzip", "maxshape": (None, None)}
        path = write_loom(tmp_path / "s.loom", counts, storage=storage)
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    def test_a_matrix_that_was_larger_once(self, tmp_path, counts):
        large = np.full((ROWS + 20, CELLS + 20), 9, dtype=counts.dtype)
        large[:ROWS, :CELLS] = counts
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            file.create_dataset("matrix", data=large, maxshape=(None, None), **TILES).resize((ROWS, CELLS))
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_any_level_of_compression(self, tmp_path, counts, level):
        path = write_loom(tmp_path / "s.loom", counts, storage={**TILES, "compression_opts": level})
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    def test_a_matrix_without_any_count(self, tmp_path):
        counts = np.zeros((ROWS, CELLS), dtype=np.int32)
        path = write_loom(tmp_path / "s.loom", counts, storage=TILES)
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    def test_a_matrix_without_any_zero(self, tmp_path):
        counts = np.arange(1, ROWS * CELLS + 1, dtype=np.int32).reshape(ROWS, CELLS)
        path = write_loom(tmp_path / "s.loom", counts, storage=TILES)
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    @pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
    @pytest.mark.parametrize("growing", [(), (0,), (0, 1)], ids=["fixed", "growing in one", "growing in both"])
    def test_every_kind_of_index(self, tmp_path, counts, libver, growing):
        """HDF5 has five: B-trees of version 1 and 2, fixed and extensible arrays, and a single tile's own."""
        path = write_loom(tmp_path / "s.loom", counts)
        attributes = tmp_path / "attributes.loom"
        Path(path).rename(attributes)
        maxshape = tuple(None if side in growing else length for side, length in enumerate(counts.shape))
        with h5py.File(path, "w", libver=libver) as file, h5py.File(attributes) as other:
            for group in ("attrs", "row_attrs", "col_attrs"):
                other.copy(group, file)
            file.create_dataset("matrix", data=counts, maxshape=maxshape, **TILES)
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    @pytest.mark.parametrize("libver", ["earliest", "latest"])
    @pytest.mark.parametrize("shape", [(9, 700), (700, 9), (150, 150)], ids="{0[0]}x{0[1]}".format)
    def test_an_index_of_many_levels(self, tmp_path, shape, libver):
        """A node of HDF5's has 64 entries: these are of two levels and, with 22,500 tiles of one count, of three."""
        counts = random_counts(np.random.default_rng(2), *shape, density=0.3)
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+", libver=libver) as file:
            del file["matrix"]
            file.create_dataset("matrix", data=counts, chunks=(1, 1), compression="gzip")
        assert by_tiles(path)
        found = entries(path, np.arange(shape[0]), 0, shape[1], np.ones(shape[1]))
        assert found.counts.tolist() == counts[counts != 0].tolist()

    @pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
    @pytest.mark.parametrize("attributes", [1, 7, 40])
    def test_a_matrix_with_attributes_of_its_own(self, tmp_path, counts, libver, attributes):
        """They fill the dataset's header, which goes on elsewhere, or move into a heap."""
        path = str(tmp_path / "s.loom")
        with h5py.File(path, "w", libver=libver, track_order=True) as file:
            matrix = file.create_dataset("matrix", data=counts, **TILES)
            for number in range(attributes):
                matrix.attrs[f"attribute {number}"] = "x" * (number * 50)
            file.create_group("row_attrs")
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    def test_beside_other_matrices(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts, storage=TILES)
        with h5py.File(path, "r+") as file:
            for name in ("spliced", "unspliced"):
                file.create_dataset(f"layers/{name}", data=counts + 1, **TILES)
        assert_reads_everywhere(path, counts)

    def test_a_matrix_that_is_a_link_to_a_layer(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts + 1, storage=TILES)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            file.create_dataset("layers/spliced", data=counts, **TILES)
            file["matrix"] = h5py.SoftLink("/layers/spliced")
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    def test_through_a_stream(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts, storage=TILES)
        assert_reads(f"file://{path}", counts, np.arange(ROWS), 3, 39, np.ones(36))

    @given(st.data())
    @examples(150)
    def test_any_rows_cells_and_tiles(self, tmp_path_factory, data):
        rows, cells = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40))
        shape = data.draw(st.integers(1, rows)), data.draw(st.integers(1, cells))
        density = data.draw(st.sampled_from([0.02, 0.3, 1.0]))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        counts = random_counts(rng, rows, cells, density, data.draw(st.sampled_from(["i2", "u1", "f4"])))
        path = write_loom(
            tmp_path_factory.getbasetemp() / "any.loom", counts, storage={"chunks": shape, "compression": "gzip"}
        )
        assert by_tiles(path)
        first = data.draw(st.integers(0, cells - 1))
        last = data.draw(st.integers(first + 1, cells))
        chosen = sorted(data.draw(st.sets(st.integers(0, rows - 1))))
        taken = data.draw(st.lists(st.booleans(), min_size=last - first, max_size=last - first))
        assert_reads(path, counts, chosen, first, last, taken)


PLAIN_TYPES = number_types("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")


class TestNumbers:
    @pytest.mark.parametrize("dtype", PLAIN_TYPES)
    def test_every_plain_type_goes_by_tiles(self, tmp_path, counts, dtype):
        path = write_loom(tmp_path / "s.loom", counts.astype(dtype), storage=TILES)
        assert by_tiles(path)
        assert_reads_everywhere(path, counts.astype(dtype))
        assert entries(path, [0], 0, CELLS, np.ones(CELLS)).counts.dtype == np.dtype(dtype)

    @pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", ">u4", ">f4", ">f8", "f2", ">f2", "?"])
    def test_others_go_by_h5py(self, tmp_path, counts, dtype):
        path = write_loom(tmp_path / "s.loom", counts.astype(dtype), storage=TILES)
        assert not by_tiles(path)
        assert_reads_everywhere(path, counts.astype(dtype))

    @pytest.mark.parametrize("way", [TILES, {"chunks": (16, 16), "compression": "lzf"}], ids=["tiles", "h5py"])
    @pytest.mark.parametrize("dtype", PLAIN_TYPES)
    def test_largest_and_smallest(self, tmp_path, counts, dtype, way):
        limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
        extreme = counts.astype(dtype)
        extreme[counts == 1] = limits.max
        extreme[counts == 2] = limits.min
        path = write_loom(tmp_path / "s.loom", extreme, storage=way, n_counts=np.ones(CELLS))
        found = entries(path, np.arange(ROWS), 0, CELLS, np.ones(CELLS))
        assert found.counts.tolist() == extreme[extreme != 0].tolist()

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_what_is_no_count_is_passed_on(self, tmp_path, dtype):
        odd = np.array([[np.nan, 0.0, -0.0, np.inf, -np.inf, -1.0, 5e-324, 1.0, 0.0, np.nan]], dtype=dtype)
        path = write_loom(tmp_path / "s.loom", odd, storage={"chunks": (1, 10), "compression": "gzip"})
        assert by_tiles(path)
        assert_reads(path, odd, [0], 0, 10, np.ones(10))

    def stored_as(self, tmp_path, counts, kind):
        """Write a loom whose matrix has a type of HDF5's that HDF5 translates to one of numpy's as it is read."""
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_chunk((16, 16))
            properties.set_deflate(4)
            made = h5py.h5d.create(file.id, b"matrix", kind, h5py.h5s.create_simple(counts.shape), properties)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, counts)
        with h5py.File(path) as file:
            assert file["matrix"].dtype == counts.dtype
            assert np.array_equal(file["matrix"][:], counts)
        return path

    def test_a_type_of_two_bytes_that_numpy_has_only_in_four(self, tmp_path, counts):
        bfloat16 = h5py.h5t.IEEE_F32LE.copy()
        bfloat16.set_fields(15, 7, 8, 0, 7)
        bfloat16.set_size(2)
        assert_reads_everywhere(self.stored_as(tmp_path, counts.astype("f4"), bfloat16), counts.astype("f4"))

    @pytest.mark.parametrize("offset", [0, 4])
    @pytest.mark.parametrize("dtype", ["u2", "i2"])
    def test_a_type_of_twelve_bits_in_two_bytes(self, tmp_path, counts, dtype, offset):
        twelve = (h5py.h5t.STD_U16LE if dtype == "u2" else h5py.h5t.STD_I16LE).copy()
        twelve.set_precision(12)
        twelve.set_offset(offset)
        assert_reads_everywhere(self.stored_as(tmp_path, counts.astype(dtype), twelve), counts.astype(dtype))

    def test_a_float_of_four_bytes_with_another_exponent(self, tmp_path, counts):
        other = h5py.h5t.IEEE_F32LE.copy()
        other.set_ebias(100)
        assert_reads_everywhere(self.stored_as(tmp_path, counts.astype("f8"), other), counts.astype("f8"))

    def test_names_for_numbers(self, tmp_path, counts):
        """An enumeration, as h5py's own booleans are but of other names, reads as its numbers."""
        names = h5py.enum_dtype({f"count {number}": number for number in range(int(counts.max()) + 1)}, basetype="i4")
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            file.create_dataset("matrix", data=counts, dtype=names, **TILES)
        assert_reads_everywhere(path, counts)

    def test_a_type_wider_than_any_compiled_code_has(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts.astype(np.longdouble), storage=TILES)
        assert not by_tiles(path)
        assert_reads_everywhere(path, counts.astype(np.longdouble))


class TestOtherLayouts:
    @pytest.mark.parametrize(
        "storage",
        [
            {},
            {"chunks": (16, 16)},
            {"chunks": (16, 16), "compression": "lzf"},
            {**TILES, "shuffle": True},
            {**TILES, "fletcher32": True},
            {**TILES, "shuffle": True, "fletcher32": True},
            {**TILES, "scaleoffset": 0},
            {"chunks": (16, 16), "fletcher32": True},
            {"chunks": (16, 16), "shuffle": True},
        ],
        ids=[
            "contiguous",
            "uncompressed",
            "lzf",
            "shuffle and gzip",
            "fletcher32 and gzip",
            "all three",
            "scaleoffset and gzip",
            "fletcher32",
            "shuffle",
        ],
    )
    def test_go_by_h5py(self, tmp_path, counts, storage):
        path = write_loom(tmp_path / "s.loom", counts, storage=storage)
        assert not by_tiles(path)
        assert_reads_everywhere(path, counts)
        assert_same(read_loom(path), loom_values(path)[0])

    def test_a_compact_matrix_goes_by_h5py(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(counts.shape)
            made = h5py.h5d.create(file.id, b"matrix", h5py.h5t.STD_I32LE, space, properties)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(counts))
        assert not by_tiles(path)
        assert_reads_everywhere(path, counts)

    @pytest.mark.parametrize("size", [512, 4096])
    def test_a_file_with_a_userblock_goes_by_h5py(self, tmp_path, counts, size):
        whole = write_loom(tmp_path / "whole.loom", counts, storage=TILES)
        path = str(tmp_path / "s.loom")
        with h5py.File(path, "w", userblock_size=size) as file, h5py.File(whole) as other:
            for name in other:
                other.copy(name, file)
        overwrite(path, 0, b"#!/bin/sh\n")
        assert not by_tiles(path)
        assert_reads_everywhere(path, counts)

    def test_columns_of_tiles_too_large_to_inflate_at_once_go_by_h5py(self, tmp_path):
        shape = (70_000, 4_000)
        assert shape[0] * shape[1] > MOST_INFLATED_BYTES
        path = write_loom(tmp_path / "s.loom", np.ones((1, 1), "u1"))
        rows = np.array([0, 7, 65_536, 69_999])
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            matrix = file.create_dataset("matrix", shape, "u1", chunks=(shape[0], 1), compression="gzip")
            for cell in (11, 12, 3_999):
                column = np.zeros(shape[0], "u1")
                column[rows] = cell % 100
                matrix[:, cell] = column
        assert not by_tiles(path)
        found = entries(path, rows, 11, 14, [True, True, True])
        assert found.lengths.tolist() == [2, 2, 2, 2]
        assert (found.cells.tolist(), found.counts.tolist()) == ([0, 1] * 4, [11, 12] * 4)


class TestUnwritten:
    """Tiles that were never written hold the fill value, of which the file has no byte."""

    def sparse(self, tmp_path, counts, **storage):
        """Write only every other tile."""
        path = write_loom(tmp_path / "s.loom", counts)
        expected = np.full(counts.shape, storage.get("fillvalue", 0), counts.dtype)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            matrix = file.create_dataset("matrix", counts.shape, counts.dtype, **TILES, **storage)
            for row in range(0, ROWS, 16):
                for cell in range(row % 32, CELLS, 32):
                    tile = np.s_[row : row + 16, cell : cell + 16]
                    matrix[tile] = expected[tile] = counts[tile]
        assert 0 < len(tile_infos(path)) < 12
        return path, expected

    def test_are_zero(self, tmp_path, counts):
        path, expected = self.sparse(tmp_path, counts)
        assert by_tiles(path)
        assert_reads_everywhere(path, expected)

    @pytest.mark.parametrize("fill", [1, 7, -1])
    def test_hold_a_fill_value_of_another_number(self, tmp_path, counts, fill):
        path, expected = self.sparse(tmp_path, counts, fillvalue=fill)
        assert not by_tiles(path)
        assert_reads_everywhere(path, expected)

    def test_hold_a_fill_value_that_is_no_number(self, tmp_path, counts):
        path, expected = self.sparse(tmp_path, counts.astype("f8"), fillvalue=np.nan)
        assert not by_tiles(path)
        found = entries(path, np.arange(ROWS), 0, CELLS, np.ones(CELLS))
        assert np.array_equal(found.counts, expected[expected != 0], equal_nan=True)
        assert np.isnan(found.counts).any()

    def test_all_of_them(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            file.create_dataset("matrix", counts.shape, "i4", **TILES)
        assert tile_infos(path) == []
        assert by_tiles(path)
        assert_reads_everywhere(path, np.zeros_like(counts))

    def test_do_not_keep_what_the_tile_above_them_held(self, tmp_path):
        path = write_loom(tmp_path / "s.loom", np.ones((1, 1)))
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            file.create_dataset("matrix", (64, 32), "i4", **TILES)[:16] = 5
        assert entries(path, np.arange(64), 0, 32, np.ones(32)).lengths.tolist() == [32] * 16 + [0] * 48


class TestIncompressible:
    """What gzip makes no smaller is stored as gzip made it, or as it is: then a mask says that gzip was skipped."""

    @pytest.mark.parametrize("dtype", ["u1", "u2", "i8", "f8"])
    def test_tiles_of_noise_that_gzip_makes_larger(self, tmp_path, dtype):
        wide = np.random.default_rng(0).integers(0, 256, (100, 90 * np.dtype(dtype).itemsize), dtype=np.uint8)
        noise = wide.view(dtype)
        if dtype == "f8":
            noise[~np.isfinite(noise)] = 1.0
        path = write_loom(
            tmp_path / "s.loom",
            noise,
            n_counts=np.ones(90),
            storage={"chunks": (50, 45), "compression": "gzip"},
        )
        assert min(tile.size for tile in tile_infos(path)) > 50 * 45 * np.dtype(dtype).itemsize
        assert by_tiles(path)
        found = entries(path, np.arange(100), 0, 90, np.ones(90))
        assert found.counts.tobytes() == noise[noise != 0].tobytes()

    def test_all_tiles_as_they_are(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts)
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            matrix = file.create_dataset("matrix", (32, 32), "i4", **TILES)
            for row in (0, 16):
                for cell in (0, 16):
                    tile = np.ascontiguousarray(counts[row : row + 16, cell : cell + 16])
                    matrix.id.write_direct_chunk((row, cell), tile.tobytes(), filter_mask=1)
        assert {(tile.filter_mask, tile.size) for tile in tile_infos(path)} == {(1, 1024)}
        assert by_tiles(path)
        assert_reads_everywhere(path, counts[:32, :32])

    def test_beside_tiles_that_are_compressed(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts, storage=TILES)
        with h5py.File(path, "r+") as file:
            matrix = file["matrix"]
            for row, cell in ((0, 16), (32, 0), (48, 32)):
                tile = np.zeros((16, 16), counts.dtype)
                held = counts[row : row + 16, cell : cell + 16]
                tile[: held.shape[0], : held.shape[1]] = held
                matrix.id.write_direct_chunk((row, cell), tile.tobytes(), filter_mask=1)
        assert sum(tile.filter_mask != 0 for tile in tile_infos(path)) == 3
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)


class TestPlaces:
    """Where in the file tiles lie."""

    def written_in(self, tmp_path, counts, order, between=0):
        path = write_loom(tmp_path / "s.loom", counts)
        places = [(row, cell) for row in range(0, ROWS, 16) for cell in range(0, CELLS, 16)]
        with h5py.File(path, "r+") as file:
            del file["matrix"]
            matrix = file.create_dataset("matrix", counts.shape, counts.dtype, **TILES)
            for number in order:
                row, cell = places[number]
                tile = np.zeros((16, 16), counts.dtype)
                held = counts[row : row + 16, cell : cell + 16]
                tile[: held.shape[0], : held.shape[1]] = held
                matrix.id.write_direct_chunk((row, cell), zlib.compress(tile.tobytes()))
                if between:
                    file[f"between{number}"] = np.random.default_rng(number).integers(0, 256, between, dtype=np.uint8)
        return path

    def offsets(self, path):
        return np.array([stored_tile(path, r, c).byte_offset for r in range(0, ROWS, 16) for c in range(0, CELLS, 16)])

    @pytest.mark.parametrize("seed", range(3))
    def test_tiles_in_any_order(self, tmp_path, counts, seed):
        path = self.written_in(tmp_path, counts, np.random.default_rng(seed).permutation(12))
        assert np.any(np.diff(self.offsets(path)) < 0)
        assert by_tiles(path)
        assert_reads_everywhere(path, counts)

    @pytest.mark.parametrize("between", [100, _GAP_BYTES + 10_000])
    def test_tiles_with_other_data_between_them(self, tmp_path, counts, between):
        path = self.written_in(tmp_path, counts, np.random.default_rng(0).permutation(12), between)
        assert np.sum(np.diff(np.sort(self.offsets(path))) > between) >= 3
        assert_reads_everywhere(path, counts)

    def test_stored_bytes_are_those_of_the_tiles_that_cells_reach_into(self, tmp_path, counts):
        path = write_loom(tmp_path / "s.loom", counts, storage=TILES)
        sizes = dict.fromkeys(range(3), 0)
        for tile in tile_infos(path):
            sizes[tile.chunk_offset[1] // 16] += tile.size
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.stored_bytes(0, CELLS) == sum(sizes.values())
            assert matrix.stored_bytes(17, 31) == sizes[1]
            assert matrix.stored_bytes(15, 17) == sizes[0] + sizes[1]
            assert matrix.stored_bytes(40, 41) == sizes[2]


@pytest.fixture
def loom(tmp_path):
    """A loom of 5 by 4 tiles of 64 by 64."""
    counts = random_counts(np.random.default_rng(1), *BIG, density=0.5)
    return write_loom(tmp_path / "s.loom", counts, storage={"chunks": (64, 64), "compression": "gzip"})


class TestDamage:
    def counts(self, loom):
        return random_counts(np.random.default_rng(1), *BIG, density=0.5)

    def test_a_tile_without_a_chosen_gene_is_not_read(self, loom):
        spoil(loom, 128, 64)
        rows = np.concatenate([np.arange(128), np.arange(192, 300)])
        found = entries(loom, rows, 0, 200, np.ones(200))
        assert found.counts.tolist() == self.counts(loom)[rows][self.counts(loom)[rows] != 0].tolist()

    def test_a_tile_without_a_passing_cell_is_not_read(self, loom):
        spoil(loom, 128, 64)
        taken = np.ones(200, np.bool_)
        taken[64:128] = False
        found = entries(loom, np.arange(300), 0, 200, taken)
        assert found.counts.tolist() == self.counts(loom)[:, taken][self.counts(loom)[:, taken] != 0].tolist()

    def test_a_tile_of_other_cells_is_not_read(self, loom):
        spoil(loom, 128, 64)
        assert len(entries(loom, np.arange(300), 0, 64, np.ones(64)).counts)
        assert len(entries(loom, np.arange(300), 128, 200, np.ones(72)).counts)

    def test_what_no_tile_holds_is_not_opened(self, loom):
        spoil(loom, 128, 64)
        assert entries(loom, np.arange(300), 0, 200, np.zeros(200)).lengths.tolist() == [0] * 300
        assert entries(loom, [], 0, 200, np.ones(200)).lengths.tolist() == []

    def test_a_conversion_leaves_out_what_it_does_not_need(self, tmp_path):
        counts = random_counts(np.random.default_rng(1), *BIG, density=0.5)
        types = ["protein_coding"] * 128 + ["lncRNA"] * 172
        passed = [1] * 128 + [0] * 72
        path = write_loom(
            tmp_path / "s.loom",
            counts,
            gene_type=types,
            filter_pass=passed,
            storage={"chunks": (64, 64), "compression": "gzip"},
        )
        expected = loom_values(path)[0]
        for row in range(0, 300, 64):
            for cell in range(0, 200, 64):
                if row >= 128 and cell not in (0, 64):
                    spoil(path, row, cell)
        assert_same(read_loom(path), expected)
        with pytest.raises(InputError, match="cannot be read; the file is damaged"):
            read_loom(path, ReadOptions(cell_filter=False, gene_types=("lncRNA",)))

    @pytest.mark.parametrize(
        ("row", "cell", "place"),
        [
            (0, 0, "rows 0 to 64, cells 0 to 64"),
            (128, 64, "rows 128 to 192, cells 64 to 128"),
            (256, 128, "rows 256 to 300, cells 128 to 192"),
            (192, 192, "rows 192 to 256, cells 192 to "),
        ],
    )
    def test_a_needed_tile_is_named_by_its_rows_and_cells(self, loom, row, cell, place):
        spoil(loom, row, cell)
        with pytest.raises(InputError, match=rf"^{loom}: the matrix at {place}.*the file is damaged \("):
            entries(loom, np.arange(300), 0, 200, np.ones(200))
        with (
            pytest.raises(InputError, match=rf"^{loom}: the matrix at {place}"),
            open_matrix(loom, AttributeNames()) as m,
        ):
            m.cell_totals(0, 200)

    def test_a_single_wrong_bit_is_seen(self, loom):
        tile = stored_tile(loom, 64, 128)
        content = Path(loom).read_bytes()
        seen = 0
        for at in range(2, tile.size, max(1, tile.size // 40)):
            overwrite(loom, tile.byte_offset + at, bytes([content[tile.byte_offset + at] ^ 0x10]))
            with pytest.raises(InputError, match="rows 64 to 128, cells 128 to 192"):
                entries(loom, np.arange(300), 0, 200, np.ones(200))
            overwrite(loom, tile.byte_offset + at, content[tile.byte_offset + at : tile.byte_offset + at + 1])
            seen += 1
        assert seen >= 40
        assert len(entries(loom, np.arange(300), 0, 200, np.ones(200)).counts)

    @pytest.mark.parametrize("length", [64 * 64 * 4 - 4, 64 * 64 * 4 + 4, 0])
    def test_a_tile_of_another_length_is_refused(self, loom, length):
        with h5py.File(loom, "r+") as file:
            file["matrix"].id.write_direct_chunk((64, 64), zlib.compress(bytes(length)))
        with pytest.raises(InputError, match="rows 64 to 128, cells 64 to 128 cannot be read; the file is damaged"):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    @pytest.mark.parametrize("length", [64 * 64 * 4 - 4, 64 * 64 * 4 + 4])
    def test_a_plain_tile_of_another_length_is_refused(self, loom, length):
        with h5py.File(loom, "r+") as file:
            file["matrix"].id.write_direct_chunk((64, 64), bytes(length), filter_mask=1)
        with pytest.raises(InputError, match="rows 64 to 128, cells 64 to 128 cannot be read; the file is damaged"):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    def readdress(self, loom, row, cell, address):
        """Change a tile's address in the index."""
        tile = stored_tile(loom, row, cell)
        old = struct.pack("<Q", tile.byte_offset)
        content = Path(loom).read_bytes()
        assert content.count(old) == 1
        overwrite(loom, content.index(old), struct.pack("<Q", address))

    @pytest.mark.parametrize("beyond", [0, 1, 10**6, 2**40, 2**62, 2**63, 2**64 - 2])
    def test_an_address_beyond_the_file_is_refused(self, loom, beyond):
        size = Path(loom).stat().st_size
        self.readdress(loom, 128, 64, size + beyond if beyond < 2**62 else beyond)
        with pytest.raises(InputError, match=rf"^{loom}: .* cannot be read; the file is damaged \("):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    def test_a_tile_that_ends_beyond_the_file_is_named_by_its_own_place(self, loom):
        tile = stored_tile(loom, 128, 64)
        size = Path(loom).stat().st_size
        self.readdress(loom, 128, 64, size - tile.size // 2)
        with pytest.raises(
            InputError, match=rf"^{loom}: the matrix at rows 128 to 192, cells 64 to 128 cannot be read"
        ):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    def test_the_last_of_tiles_that_are_read_together_is_named_where_it_ends_beyond_the_file(self, loom):
        """Its size is enlarged in the index: the tiles before it, read in the same go, are sound."""
        tiles = [stored_tile(loom, 256, cell) for cell in (0, 64, 128, 192)]
        last = max(tiles, key=lambda tile: tile.byte_offset)
        first = min(tiles, key=lambda tile: tile.byte_offset)
        assert first is not last
        content = Path(loom).read_bytes()
        key = struct.pack("<IIQQ", last.size, 0, *last.chunk_offset)
        assert content.count(key) == 1
        overwrite(loom, content.index(key), struct.pack("<I", 2**30))
        cells = last.chunk_offset[1]
        with pytest.raises(
            InputError, match=rf"rows 256 to 300, cells {cells} to {min(cells + 64, 200)} cannot be read"
        ):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    @pytest.mark.parametrize("offset", [(640, 64), (128, 256), (2**40, 0), (2**63, 0), (2**64 - 64, 64)])
    def test_an_index_that_names_a_tile_outside_the_matrix_is_refused(self, loom, offset):
        tile = stored_tile(loom, 128, 64)
        content = Path(loom).read_bytes()
        key = struct.pack("<IIQQ", tile.size, 0, 128, 64)
        assert content.count(key) == 1
        overwrite(loom, content.index(key) + 8, struct.pack("<QQ", *offset))
        with pytest.raises(InputError, match=rf"^{loom}: .*the file is damaged"):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    def test_an_index_that_names_a_tile_twice_is_refused(self, loom):
        """Else the other, whose name was overwritten, would be taken for zeros."""
        tile = stored_tile(loom, 128, 64)
        content = Path(loom).read_bytes()
        key = struct.pack("<IIQQ", tile.size, 0, 128, 64)
        overwrite(loom, content.index(key) + 8, struct.pack("<QQ", 128, 0))
        with pytest.raises(InputError, match=rf"^{loom}: .*the file is damaged"):
            entries(loom, np.arange(300), 0, 200, np.ones(200))

    def test_a_file_that_is_cut_off_while_it_is_open(self, loom):
        tile = stored_tile(loom, 128, 64)
        with open_matrix(loom, AttributeNames()) as matrix:
            os.truncate(loom, tile.byte_offset + 10)
            with pytest.raises(InputError, match=rf"^{loom}: "):
                matrix.entries(np.arange(300), 0, 200, np.ones(200, np.bool_))

    def test_a_file_that_is_removed_while_it_is_open(self, loom):
        with open_matrix(loom, AttributeNames()) as matrix:
            Path(loom).unlink()
            try:
                found = matrix.entries(np.arange(300), 0, 200, np.ones(200, np.bool_))
            except InputError as error:
                assert str(error).startswith(f"{loom}: ")  # noqa: PT017
            else:
                assert len(found.counts) == np.count_nonzero(self.counts(loom))
