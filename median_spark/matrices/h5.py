"""HDF5 files whose name only says that they are HDF5: 10x's matrices, or looms or h5ads by another name."""

import h5py

from median_spark.matrices.anndata.h5ad import H5adMatrix
from median_spark.matrices.contract import CountMatrix
from median_spark.matrices.hdf5.files import naming_damage, open_hdf5
from median_spark.matrices.loom import LoomMatrix
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.tenx.matrix import TenxMatrix


def open_h5(location: str, names: AttributeNames, layer: str) -> CountMatrix:
    """Open an HDF5 file as what it holds; InputError if it is missing, cut off, no HDF5, or no matrix."""
    file, stream = open_hdf5(location)
    try:
        with naming_damage(location, "its list of contents"):
            held = set(file)
            # A link out of the file is left to the format's own reader.
            dataset = file.get("matrix", getclass=True, getlink=False) if _is_inside(file, "matrix") else None
    finally:
        file.close()
        if stream is not None:
            stream.close()
    if dataset is h5py.Dataset and held & {"row_attrs", "col_attrs"}:
        return LoomMatrix(location, names, layer)
    if "obs" in held and held & {"var", "raw", "raw.var"}:
        return H5adMatrix(location, names, layer)
    return TenxMatrix(location, names, layer)


def _is_inside(file: h5py.File, name: str) -> bool:
    return isinstance(file.get(name, getlink=True), h5py.HardLink)
