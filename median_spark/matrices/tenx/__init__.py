"""HDF5 files as Cell Ranger writes them."""
