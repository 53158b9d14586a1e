"""Small sound SOMA experiments by tiledbsoma, damage to their arrays and files, and plain reading.

TileDB has threads that a fork loses: none of this may run in the process that forks children.
"""

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import tiledbsoma
import tiledbsoma.io

ODD_NUMBERS = [-1, 0.5, 0, 1e300, 2**31, float("nan"), float("inf"), 7]


def write_experiment(rng: np.random.Generator, path: Path, made: anndata.AnnData) -> str:
    """Write an experiment; return the name of its layer."""
    layer = str(rng.choice(["raw", "data", "counts"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiledbsoma.io.from_anndata(str(path), made, "RNA", X_layer_name=layer, context=_context())
    return layer


def _context() -> tiledbsoma.SOMATileDBContext:
    """Return settings for little memory, as a child has."""
    return tiledbsoma.SOMATileDBContext(
        tiledb_config={
            "soma.init_buffer_bytes": str(1 << 22),
            "sm.mem.total_budget": str(1 << 28),
            "sm.compute_concurrency_level": "1",
            "sm.io_concurrency_level": "1",
        }
    )


def damage_experiment(rng: np.random.Generator, path: Path, notes: list[str]) -> Path | None:
    """Write an odd count, remove a file, or return a file whose bytes are to be damaged."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    how = rng.choice(["count", "remove", "bytes"], p=[0.4, 0.15, 0.45])
    if how == "count":
        _put_count(rng, path, notes)
        return None
    file = files[rng.integers(len(files))]
    notes.append(f"{how} of {file.relative_to(path)}")
    if how == "bytes":
        return file
    file.unlink()
    return None


def _put_count(rng: np.random.Generator, path: Path, notes: list[str]) -> None:
    """Write a count into a place of the matrix, which may be one without a gene or a cell."""
    layer = next((path / "ms/RNA/X").glob("[!_]*"))
    with tiledbsoma.open(str(layer), context=_context()) as held:
        kind, shape, dense = held.schema.field("soma_data").type, held.shape, held.soma_type == "SOMADenseNDArray"
    value = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
    cell, gene = (int(rng.integers(extent)) for extent in shape)
    count = np.asarray(value).astype(kind.to_pandas_dtype()) if np.isfinite(value) or pa.types.is_floating(kind) else 3
    notes.append(f"{count} at cell {cell}, gene {gene}")
    with tiledbsoma.open(str(layer), "w", context=_context()) as held:
        if dense:
            held.write((slice(cell, cell), slice(gene, gene)), pa.Tensor.from_numpy(np.array([[count]])))
        else:
            held.write(
                pa.table(
                    {
                        "soma_dim_0": [cell],
                        "soma_dim_1": [gene],
                        "soma_data": pa.array([np.asarray(count).item()], kind),
                    }
                )
            )


def read_experiment(path: Path, place: str) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Return counts of genes by cells, and the frames var and obs, by soma_joinid."""
    with tiledbsoma.Experiment.open(str(path), context=_context()) as experiment:
        obs, var = (frame.read().concat().to_pandas() for frame in (experiment.obs, experiment.ms["RNA"].var))
        layer = next(held for name, held in experiment.ms["RNA"].X.items() if name in place)
        if layer.soma_type == "SOMADenseNDArray":
            entries = layer.read().to_numpy()
            cells, genes = np.nonzero(entries)
            numbers = entries[cells, genes]
        else:
            table = layer.read().tables().concat()
            cells, genes, numbers = (table[name].to_numpy() for name in ("soma_dim_0", "soma_dim_1", "soma_data"))
    obs, var = obs.sort_values("soma_joinid"), var.sort_values("soma_joinid")
    places = [{number: at for at, number in enumerate(frame["soma_joinid"])} for frame in (var, obs)]
    counts = np.zeros((len(var), len(obs)))
    for cell, gene, number in zip(cells.tolist(), genes.tolist(), numbers.tolist(), strict=True):
        counts[places[0][gene], places[1][cell]] += float(number)
    return counts, var, obs
