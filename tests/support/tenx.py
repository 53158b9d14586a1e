"""Writing 10x's HDF5 files for tests, as Cell Ranger's documentation lays them out, with whatever is to be wrong."""

from pathlib import Path

import h5py
import numpy as np
import scipy.sparse

RANGER = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""How Cell Ranger stores lists."""


def write_tenx_h5(path, counts, **changes):
    """Write counts, features by cells, as Cell Ranger 3 and later do.

    `ids`, `types`, `genomes` and `barcodes` are lists, `storage` goes to h5py; other `changes` replace members of the
    group, or leave them out if None.
    """
    counts = np.asarray(counts)
    number = len(counts)
    features = {
        "id": changes.pop("ids", [f"ENSG{gene:011d}" for gene in range(number)]),
        "name": [f"symbol{gene}" for gene in range(number)],
        "feature_type": changes.pop("types", ["Gene Expression"] * number),
        "genome": changes.pop("genomes", ["GRCh38"] * number),
    }
    path = _ready(path)
    with h5py.File(path, "w") as file:
        file.attrs.update({"filetype": "matrix", "version": 2, "chemistry_description": "Single Cell 3' v3"})
        storage = changes.pop("storage", RANGER)
        group = _put_matrix(file, "matrix", counts, storage, changes)
        held = group.create_group("features")
        held["_all_tag_keys"] = np.array([b"genome"])
        for name, content in features.items():
            if content is not None:
                held.create_dataset(name, data=_texts(content), **_fitting(storage, np.asarray(content)))
    return path


def write_old_tenx_h5(path, genomes, **changes):
    """Write counts by genome, genes by cells each, as Cell Ranger 2 does; `changes` are for every genome."""
    path = _ready(path)
    with h5py.File(path, "w") as file:
        for genome, counts in genomes.items():
            group = _put_matrix(file, genome, np.asarray(counts), changes.get("storage", RANGER), dict(changes))
            group["genes"] = _texts(f"ENSG{gene:011d}" for gene in range(len(counts)))
            group["gene_names"] = _texts(f"symbol{gene}" for gene in range(len(counts)))
    return path


def _ready(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def _put_matrix(file, name, counts, storage, changes):
    matrix = scipy.sparse.csc_matrix(counts)
    cells = counts.shape[1]
    members = {
        "barcodes": _texts(changes.pop("barcodes", [f"{'ACGT' * 4}-{cell}" for cell in range(cells)])),
        "data": matrix.data,
        "indices": matrix.indices.astype(np.int64),
        "indptr": matrix.indptr.astype(np.int64),
        "shape": np.array(counts.shape, dtype=np.int32),
        **{key: content for key, content in changes.items() if key != "storage"},
    }
    group = file.create_group(name)
    for key, content in members.items():
        if content is not None:
            content = np.asarray(content)
            group.create_dataset(key, data=content, **_fitting(storage, content))
    return group


def _fitting(storage, content):
    """Return what of a storage holds for a list."""
    if not content.size or content.ndim != 1:
        return {}
    return {**storage, "chunks": (min(storage["chunks"][0], len(content)),)} if "chunks" in storage else storage


def _texts(texts):
    return np.array([text.encode() for text in texts], dtype="S")
