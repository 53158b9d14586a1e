"""Files of a few KB that declare any number of cells, genes or bytes: refused before memory is asked for."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from h5ads import categorical, write_h5ad
from looms import random_counts, write_loom

from median_spark import ReadOptions
from median_spark.errors import InputError
from median_spark.guard import Limits, read_guarded
from median_spark.matrices import outline_of
from median_spark.matrices.hdf5.sizes import require_whole_chunks

COUNTS = random_counts(np.random.default_rng(5), 40, 30, density=0.5)
MEMORY = Limits(memory=500 << 20)
MANY = 300_000_000


def enlarge(file, place, shape, dtype=None, **storage):
    """Put a dataset in place of another that declares a shape, and of which nothing is written."""
    dtype = dtype or file[place].dtype
    del file[place]
    file.create_dataset(place, shape, dtype, **storage)


def cells_of_loom(file, storage):
    enlarge(file, "matrix", (40, MANY), chunks=(40, 1 << 16), compression="gzip")
    for name in list(file["col_attrs"]):
        enlarge(file, f"col_attrs/{name}", (MANY,), **storage)


def genes_of_loom(file, storage):
    enlarge(file, "matrix", (MANY, 30), chunks=(1 << 16, 30), compression="gzip")
    for name in list(file["row_attrs"]):
        enlarge(file, f"row_attrs/{name}", (MANY,), **storage)


def tile_of_loom(file, storage):
    del storage
    enlarge(file, "matrix", (40, 30 << 20), chunks=(40, 25 << 20), compression="gzip")
    for name in list(file["col_attrs"]):
        content = np.ones(30 << 20, dtype="u1")
        del file[f"col_attrs/{name}"]
        file.create_dataset(f"col_attrs/{name}", data=content, compression="gzip", chunks=(1 << 20,))


def strings_of_loom(file, storage):
    enlarge(file, "row_attrs/ensembl_id", (40,), "S100000000", **storage)


def tiles_of_loom(file, storage):
    del storage
    enlarge(file, "matrix", (1_900_000, 1_900_000), "u1", chunks=(8, 8), compression="gzip")


def cells_of_h5ad(file, storage):
    enlarge(file, "X/indptr", (MANY + 1,), **storage)
    file["X"].attrs["shape"] = (MANY, 40)
    for name in list(file["obs"]):
        enlarge(file, f"obs/{name}", (MANY,), **storage)


def genes_of_h5ad(file, storage):
    del storage
    file["X"].attrs["shape"] = (30, MANY)


def entries_of_h5ad(file, storage):
    for name in ("data", "indices"):
        enlarge(file, f"X/{name}", (MANY,), **storage)
    indptr = file["X/indptr"][:]
    indptr[-1] = MANY
    file["X/indptr"][:] = indptr


def strings_of_h5ad(file, storage):
    enlarge(file, "var/ensembl_id", (40,), "S100000000", **storage)


def data_of_h5ad(file, storage):
    enlarge(file, "X/data", file["X/data"].shape, "S100000000", **storage)


def categories_of_h5ad(file, storage):
    enlarge(file, "var/gene_type/categories", (MANY,), h5py.string_dtype(), **storage)


def rows_of_dense(file, storage):
    del file["X"]
    file.create_dataset("X", (MANY, 40), "f4", **(storage or {"chunks": None}))
    for name in list(file["obs"]):
        enlarge(file, f"obs/{name}", (MANY,), **storage)


LOOM = [cells_of_loom, genes_of_loom, tile_of_loom, strings_of_loom, tiles_of_loom]
H5AD = [cells_of_h5ad, genes_of_h5ad, entries_of_h5ad, strings_of_h5ad, data_of_h5ad, categories_of_h5ad,
        rows_of_dense]  # fmt: skip
STORAGES = [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}]


@pytest.mark.parametrize("storage", STORAGES, ids=["contiguous", "chunked", "gzip"])
@pytest.mark.parametrize("declare", LOOM + H5AD)
def test_what_a_small_file_declares_is_refused_in_little_memory(tmp_path, declare, storage):
    if declare in LOOM:
        path = write_loom(tmp_path / "s.loom", COUNTS)
    else:
        path = str(tmp_path / "s.h5ad")
        write_h5ad(path, COUNTS, gene_type=categorical(["protein_coding"] * 40))
    with h5py.File(path, "r+") as file:
        declare(file, storage)
    assert Path(path).stat().st_size < 500_000
    with pytest.raises(InputError, match=rf"^{path}: ") as error:
        read_guarded(path, outline_of, path, ReadOptions(), limits=MEMORY)
    assert "of memory" not in str(error.value)
    assert "Unexpected" not in str(error.value)


def test_many_cells_that_compress_to_little_are_sound(tmp_path):
    cells = 1_000_000
    path = write_loom(
        tmp_path / "s.loom",
        np.ones((2, cells), dtype="u1"),
        storage={"chunks": (2, 10_000), "compression": "gzip"},
        cell_id=None,
        n_counts=None,
    )
    with h5py.File(path, "r+") as file:
        for name, value in (("filter_pass", 1), ("n_counts", 2.0)):
            if name in file["col_attrs"]:
                del file[f"col_attrs/{name}"]
            file.create_dataset(f"col_attrs/{name}", data=np.full(cells, value), compression="gzip", chunks=(10_000,))
    assert read_guarded(path, outline_of, path, ReadOptions()).cells_passed == cells


@pytest.mark.parametrize("filters", [{"compression": "lzf"}, {"compression": "gzip"}, {"shuffle": True}, {}])
def test_texts_of_any_length_in_chunks_that_skip_their_filter_are_sound(tmp_path, filters):
    """HDF5 says that such a text has 8 bytes, and stores 16 for it; lzf leaves small chunks as they are."""
    records = np.array([("a", 1, "bc"), ("d", 2, "e"), ("f", 3, "")], dtype=object)
    dtype = np.dtype([("one", h5py.string_dtype()), ("number", np.int32), ("other", h5py.string_dtype())])
    with h5py.File(tmp_path / "file.h5", "w") as file:
        texts = file.create_dataset("texts", data=["a", "bc", "d"], dtype=h5py.string_dtype(), chunks=(2,), **filters)
        rows = np.array([tuple(row) for row in records.tolist()], dtype=dtype)
        held = file.create_dataset("rows", data=rows, chunks=(2,), **filters)
        for dataset in (texts, held):
            require_whole_chunks("file.h5", "texts", dataset)
