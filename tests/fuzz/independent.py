"""The same values by loompy and anndata: whole matrices, plain numpy, and no code of median_spark's."""

import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import h5py
import loompy
import numpy as np
import pandas as pd
from good_parquets import read_parquet
from good_somas import read_experiment
from good_triples import read_tenx, read_triples

from median_spark.matrices import ReadOptions

UNREADABLE = re.compile("[\\\\\ufffd\ud800-\udfff]")
"""What readers put in place of bytes that are no UTF-8."""
MISSING = {"nan", "none", "na", "<na>", "null", ""}
NO_ID = re.compile(
    r"nan|none|#?na|<.*>|null|nat|n/a|true|false|[\d.+-]+(e[+-]?\d+)?|inf|\W*|.*[\\\ufffd\ud800-\udfff].*", re.I | re.S
)


@dataclass
class Reading:
    """What an independent reader finds.

    Attributes
    ----------
    genes : dict of str to (ndarray of int64, ndarray of float64)
        Each gene's cells and values.
    exact : bool
        Whether values are the same to the bit whatever the order of summing.
    faults : list of str
        Why the file should have been refused.
    """

    genes: dict[str, tuple[Any, Any]]
    exact: bool = True
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    """A matrix in memory: float64 counts of genes by cells, and what is known of both."""

    counts: np.ndarray
    ids: list[str]
    types: list[str] | None
    passed: np.ndarray
    totals: np.ndarray | None


def read_independently(path: str, options: ReadOptions, place: str) -> Reading:
    """Read a matrix as documented; whatever is raised means that this reader cannot tell.

    Parameters
    ----------
    path : str
        The matrix.
    options : ReadOptions
        How it is to be read.
    place : str
        Which of a file's matrices.
    """
    name = path.removesuffix(".gz")
    if name.endswith((".h5", ".mtx")):
        counts, ids = read_tenx(Path(_unzipped(path))) if name.endswith(".h5") else read_triples(Path(path))
        found = _Table(counts, ids, None, np.ones(counts.shape[1], bool), None)
    elif name.endswith(".parquet"):
        counts, ids, obs = read_parquet(Path(path), place)
        found = _Table(counts, ids, None, *_of_cells(obs, options))
    elif name.endswith(".soma"):
        counts, var, obs = read_experiment(Path(path), place)
        types = _texts(var[options.names.gene_type]) if options.names.gene_type in var else None
        ids = _texts(var[options.names.gene_id if options.names.gene_id in var else "var_id"])
        found = _Table(counts, ids, types, *_of_cells(obs, options))
    else:
        plain = _unzipped(path)
        found = _loom(plain, options) if name.endswith(".loom") else _h5ad(plain, options, place)
    totals = found.counts.sum(axis=0) if found.totals is None else found.totals
    chosen = [_is_chosen(gene, None if found.types is None else found.types[row], options)
              for row, gene in enumerate(found.ids)]  # fmt: skip
    rows: dict[str, list[int]] = {}
    for row, gene in enumerate(found.ids):
        if chosen[row]:
            rows.setdefault(gene, []).append(row)
    looked_at = found.counts[chosen][:, found.passed]
    reading = Reading({}, exact=bool(np.all(np.rint(found.counts) == found.counts) and np.all(found.counts < 2**40)))
    if looked_at.size and not (np.isfinite(looked_at).all() and looked_at.min() >= 0):
        reading.faults.append("counts that are negative, NaN or infinite")
    elif not options.allow_non_integer and np.any(
        np.abs(looked_at - np.rint(looked_at)) > 1e-6 * np.maximum(looked_at, 1e-3)
    ):
        reading.faults.append("counts that are not whole")
    for gene, of in rows.items():
        counts = np.zeros(found.counts.shape[1])
        for row in of:
            counts += found.counts[row]
        cells = np.flatnonzero(found.passed & (counts > 0))
        if not np.all(totals[cells] > 0) or not np.isfinite(totals[cells]).all():
            reading.faults.append(f"gene {gene!r}: a cell with counts whose total is not above 0 and finite")
        with np.errstate(all="ignore"):
            values = counts[cells] / totals[cells] * options.target_sum
        kept = values > 0
        if kept.any():
            reading.genes[gene] = (cells[kept], values[kept])
    return reading


def _unzipped(path: str) -> str:
    """Decompress a file that was gzipped whole beside itself; return what can be read."""
    if not path.endswith(".gz"):
        return path
    plain = Path(path).with_name(f"plain-{Path(path).name.removesuffix('.gz')}")
    plain.write_bytes(gzip.decompress(Path(path).read_bytes()))
    return str(plain)


def difference(ours: dict[str, tuple[Any, Any]], reading: Reading) -> str | None:
    """Say how what was read differs from what an independent reader finds, None if it does not."""
    if reading.faults:
        return f"accepted: {reading.faults[0]}"
    none = [gene for gene in ours if gene.strip().lower() in MISSING or gene.isdigit() or UNREADABLE.search(gene)]
    if none:
        return f"an id that is none made a gene: {none[0]!r:.60}"
    for gene in sorted({*ours, *reading.genes}):
        if gene not in ours or gene not in reading.genes:
            if gene in ours or not NO_ID.fullmatch(gene.strip()):
                return f"gene {gene!r:.60} only {'here' if gene in ours else 'there'}"
            continue
        (cells, values), (other_cells, other_values) = ours[gene], reading.genes[gene]
        if not np.array_equal(cells, other_cells):
            return f"gene {gene!r:.60}: cells {cells[:5]} here, {other_cells[:5]} there"
        if reading.exact and not np.array_equal(values, other_values):
            at = int(np.flatnonzero(values != other_values)[0])
            return f"gene {gene!r:.60}, cell {cells[at]}: {values[at]!r} here, {other_values[at]!r} there"
        if not np.allclose(values, other_values, rtol=1e-12, atol=0):
            return f"gene {gene!r:.60}: {values[:3]} here, {other_values[:3]} there"
    return None


def _is_chosen(gene: str, own: str | None, options: ReadOptions) -> bool:
    by_table = options.gene_table is None or options.gene_table.gene_types.get(gene) in options.gene_types
    return by_table and (own is None or own in options.gene_types)


def _loom(path: str, options: ReadOptions) -> _Table:
    names = options.names
    with loompy.connect(path, "r", validate=False) as file:
        counts = np.asarray(file.layers[""][:, :]).astype(np.float64)
        ids = [str(gene) for gene in file.ra[names.gene_id]]
        # loompy drops bytes that it cannot decode; here they stay distinct.
        stored = file._file[f"row_attrs/{names.gene_id}"][()].tolist()
        ids = [_undecodable(raw) or gene for raw, gene in zip(stored, ids, strict=True)]
        types = [str(kind) for kind in file.ra[names.gene_type]] if names.gene_type in file.ra else None
        passed = np.asarray(file.ca[names.filter_pass] == 1) if options.cell_filter else np.ones(file.shape[1], bool)
        totals = None if options.compute_n_counts else np.asarray(file.ca[names.n_counts]).astype(np.float64)
    return _checked(_Table(counts, ids, types, passed, totals))


def _undecodable(raw: Any) -> str | None:
    """Return bytes that are no UTF-8 with backslashes, None of others."""
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else ""
    return text if "\\" in text else None


def _h5ad(path: str, options: ReadOptions, place: str) -> _Table:
    is_zarr = path.endswith(".zarr")
    try:
        file = anndata.read_zarr(path) if is_zarr else anndata.read_h5ad(path)
        obs, var = file.obs, file.raw.var if place == "raw.X" else file.var
        matrix = file.raw.X if place == "raw.X" else file.X if place == "X" else file.layers[_layer(place)]
        counts = matrix.astype(np.float64)  # before duplicates are summed, for small types wrap around
        counts = np.asarray(counts.toarray() if hasattr(counts, "toarray") else counts)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OSError):
        if is_zarr:
            raise
        # scipy has no float16 and no foreign byte order, and anndata needs parts of the file that we do not.
        with h5py.File(path, "r") as file:
            obs, var = (anndata.io.read_elem(file[name]) for name in ("obs", "raw/var" if place == "raw.X" else "var"))
            counts = _by_h5py(file["X" if place == "X" else "raw/X" if place == "raw.X" else f"layers/{_layer(place)}"])
    names = options.names
    ids = var[names.gene_id] if names.gene_id in var else var.index.to_series()
    types = var[names.gene_type] if names.gene_type in var else var.get("feature_type")
    if names.gene_type not in var and types is not None and not (types == "protein_coding").any():
        types = None
    passed, totals = _of_cells(obs, options)
    return _checked(_Table(counts.T, _texts(ids), None if types is None else _texts(types), passed, totals))


def _of_cells(obs: pd.DataFrame, options: ReadOptions) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which cells pass, and their totals unless these are summed."""
    names, passed, totals = options.names, np.ones(len(obs), bool), None
    if options.cell_filter:
        passed = np.asarray((obs[names.filter_pass] == 1).astype("boolean").fillna(False), dtype=bool)
    if not options.compute_n_counts:
        totals = obs[names.n_counts].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return passed, totals


def _layer(place: str) -> str:
    return place.removeprefix("layer ").strip("'")


def _by_h5py(held: h5py.Group | h5py.Dataset) -> np.ndarray:
    """Return a matrix, dense or sparse, as cells by genes."""
    if isinstance(held, h5py.Dataset):
        return held[()].astype(np.float64)
    counts = np.zeros([int(length) for length in held.attrs["shape"]])
    data, indices, indptr = (held[name][()] for name in ("data", "indices", "indptr"))
    lines = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr.astype(np.int64)))
    if indices.min(initial=0) < 0:
        message = "negative indices"
        raise ValueError(message)
    np.add.at(
        counts if held.attrs["encoding-type"] == "csr_matrix" else counts.T, (lines, indices.astype(np.int64)), data
    )
    return counts


def _texts(column: pd.Series) -> list[str]:
    return ["" if pd.isna(found) else str(found) for found in column.tolist()]


def _checked(table: _Table) -> _Table:
    """Refuse what does not go together."""
    genes, cells = table.counts.shape
    lengths = [len(table.ids), genes if table.types is None else len(table.types), len(table.passed),
               cells if table.totals is None else len(table.totals)]  # fmt: skip
    if lengths != [genes, genes, cells, cells]:
        message = f"lengths {lengths} of a matrix of {genes} by {cells}"
        raise ValueError(message)
    return table
