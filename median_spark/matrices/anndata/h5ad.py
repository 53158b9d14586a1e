"""AnnData files (.h5ad) that are HDF5, read with h5py."""

import contextlib

from median_spark.matrices.anndata.hdf5_nodes import Hdf5Group
from median_spark.matrices.anndata.matrix import AnnDataMatrix
from median_spark.matrices.hdf5.files import open_hdf5
from median_spark.matrices.options import AttributeNames


class H5adMatrix(AnnDataMatrix):
    """One h5ad; InputError if it is missing, cut off, no HDF5, no AnnData file, or has no such layer."""

    format = "h5ad (AnnData)"
    container = "HDF5 file is no h5ad"

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        file, stream = open_hdf5(location)
        with contextlib.ExitStack() as resources:
            if stream is not None:
                resources.callback(stream.close)
            resources.callback(file.close)
            super().__init__(location, Hdf5Group(location, file), names, layer, resources.pop_all())
