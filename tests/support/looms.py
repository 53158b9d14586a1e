"""Writing looms for tests, with whatever is to be wrong about them."""

from pathlib import Path

import h5py
import numpy as np


def write_looms(folder, names, seed, rows, cells, **more):
    """Write looms of random counts at names below a folder, and return the folder."""
    rng = np.random.default_rng(seed)
    for name in names:
        write_loom(Path(folder) / f"{name}.loom", random_counts(rng, rows, cells, **more))
    return Path(folder)


def write_loom(path, counts, **changes):
    """Write a loom (specification 3) of counts, rows by cells; `changes` replace or, if None, leave out an attribute.

    Row attributes: ensembl_id, gene_type, and any named ``row_…``. Column attributes: cell_id, n_counts,
    filter_pass, and any named ``col_…``. `storage` goes to h5py's create_dataset.
    """
    counts = np.asarray(counts)
    rows, cells = counts.shape
    storage = changes.pop("storage", {"chunks": (min(64, rows), min(64, cells)), "compression": "gzip"})
    row_attrs = {
        "ensembl_id": [f"ENSG{number:011d}" for number in range(rows)],
        "gene_type": ["protein_coding"] * rows,
    }
    with np.errstate(invalid="ignore", over="ignore"):
        totals = counts.sum(axis=0).astype(np.float64)
    col_attrs = {
        "cell_id": [f"cell{number}" for number in range(cells)],
        "n_counts": totals,
        "filter_pass": np.ones(cells, dtype=np.int64),
    }
    for name, content in changes.items():
        if name in row_attrs:
            row_attrs[name] = content
        elif name.startswith("row_"):
            row_attrs[name.removeprefix("row_")] = content
        else:
            col_attrs[name.removeprefix("col_")] = content
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["attrs/LOOM_SPEC_VERSION"] = "3.0.0"
        file.create_dataset("matrix", data=counts, **(storage if counts.size else {}))
        for group, attributes in (("row_attrs", row_attrs), ("col_attrs", col_attrs)):
            file.create_group(group)
            for name, content in attributes.items():
                if content is not None:
                    file[f"{group}/{name}"] = content
        for group in ("layers", "row_graphs", "col_graphs"):
            file.create_group(group)
    return str(path)


def random_counts(rng, rows, cells, density=0.1, dtype=np.int32):
    """Return counts as droplet data has them: mostly 0, then 1, and some large."""
    present = rng.random((rows, cells)) < density
    return (present * (1 + rng.geometric(0.5, (rows, cells)) + rng.poisson(0.3, (rows, cells)))).astype(dtype)


def with_duplicates(rows):
    """Return ids of which every third is that of an earlier row, and not in ascending order."""
    return [f"ENSG{(row * 31) % rows if row % 3 else row // 2:011d}" for row in range(rows)]
