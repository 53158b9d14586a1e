"""Matrices as 10x and tiledbsoma write them, and an h5ad that was gzipped whole: the cells of one h5ad."""

import gzip
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import scipy.io
import scipy.sparse
import tiledbsoma.io
from corpus import FORMATS
from tenx import RANGER


def write_formats(folder: Path, h5ad: Path) -> None:
    """Write the cells of an uncompressed h5ad in each way of `FORMATS`; what is there stays."""
    if all((folder / name).exists() for name in FORMATS.values()):
        return
    with h5py.File(h5ad) as file:
        held = file["X"]
        lists = (held["data"][()].astype(np.int32), held["indices"][()], held["indptr"][()])
        counts = scipy.sparse.csr_matrix(lists, shape=tuple(held.attrs["shape"]))
        ids, barcodes = (file[name].asstr()[()].tolist() for name in ("var/ensembl_id", "obs/_index"))
    begun = folder.with_name(f"{folder.name}.begun")
    shutil.rmtree(begun, ignore_errors=True)
    for name in ("plain", "zipped"):
        (begun / name).mkdir(parents=True)
    _write_h5(begun / "ranger.h5", counts, ids, barcodes)
    scipy.io.mmwrite(begun / "plain" / "matrix.mtx", counts.T.tocsc(), field="integer")
    features = "".join(f"{gene}\t{gene}\tGene Expression\n" for gene in ids)
    for name, text in (("features.tsv", features), ("barcodes.tsv", "".join(f"{cell}\n" for cell in barcodes))):
        (begun / "plain" / name).write_text(text)
    for path in (begun / "plain").iterdir():
        _zip(path, begun / "zipped" / f"{path.name}.gz")
    _zip(h5ad, begun / "whole.h5ad.gz")
    tiledbsoma.io.from_anndata(str(begun / "experiment.soma"), anndata.read_h5ad(h5ad), "RNA", X_layer_name="raw")
    shutil.rmtree(folder, ignore_errors=True)
    begun.rename(folder)


def _write_h5(path: Path, counts: scipy.sparse.csr_matrix, ids: list[str], barcodes: list[str]) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        features = {
            "id": ids,
            "name": ids,
            "feature_type": ["Gene Expression"] * len(ids),
            "genome": ["GRCh38"] * len(ids),
        }
        for name, texts in {"barcodes": barcodes, **{f"features/{name}": of for name, of in features.items()}}.items():
            group.create_dataset(name, data=np.array(texts, dtype="S"), **RANGER)
        for name, dtype in (("data", np.int32), ("indices", np.int64), ("indptr", np.int64)):
            numbers = getattr(counts, name).astype(dtype)
            group.create_dataset(name, data=numbers, chunks=(min(80_000, len(numbers)),), **RANGER)
        group["shape"] = np.array(counts.shape[::-1], dtype=np.int32)


def _zip(path: Path, target: Path) -> None:
    with path.open("rb") as source, gzip.open(target, "wb", compresslevel=6) as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
