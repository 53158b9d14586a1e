"""AnnData stores in zarr, versions 2 and 3."""
