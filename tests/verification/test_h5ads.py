"""Columns of data frames by the independent reader of AnnData files."""

import h5py
import numpy as np
import pytest
from h5ads import write_h5ad
from zarrs import copy_h5ad

from median_spark.verification.h5ads import H5ad
from median_spark.verification.zarrs import open_zarr

STRINGS = h5py.string_dtype()


@pytest.mark.parametrize(
    ("listed", "columns"),
    [(np.array(["n_counts"], dtype=STRINGS), ["n_counts"]), (np.array([], dtype=STRINGS), []), ("", [])],
)
def test_columns_are_those_that_the_frame_lists(tmp_path, listed, columns):
    path = write_h5ad(tmp_path / "a.h5ad", [[1, 2], [0, 3]])
    with h5py.File(path, "r+") as file:
        file["obs"].attrs["column-order"] = listed
        file["var"].attrs["column-order"] = np.array(["ensembl_id"], dtype=STRINGS)
        held = H5ad(file, "auto")
        assert held.columns == columns
        assert held.types("gene_type") is None
    assert open_zarr(copy_h5ad(path, tmp_path / "a.zarr"), "auto").columns == columns


def test_names_of_fixed_size(tmp_path):
    with h5py.File(write_h5ad(tmp_path / "a.h5ad", [[1, 2], [0, 3]]), "r+") as file:
        file["obs"].attrs["column-order"] = np.array([b"filter_pass"])
        assert H5ad(file, "auto").columns == ["filter_pass"]
