"""AnnData stores in zarr: the cells of one h5ad, as anndata writes them."""

import shutil
import warnings
from pathlib import Path

import anndata
from corpus import ZARRS


def write_zarrs(folder: Path, h5ad: Path) -> None:
    """Write the cells of an h5ad in each way of `ZARRS`; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path: settings for name, settings in ZARRS.items() if not (path := folder / f"{name}.zarr").exists()}
    held = anndata.read_h5ad(h5ad) if wanted else None
    for path, settings in wanted.items():
        begun = path.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        with anndata.settings.override(**settings), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held.write_zarr(begun)
        begun.rename(path)
