"""What legs must have in common: the content of their results, whatever wrote it."""

import hashlib
import pickle
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

RESULTS = ("run/medians", "medians", "digests", "merged", "windows/medians")
TABLES = ("run/expression", "expression", "windows/expression")


def outcome(out):
    """Return digests of all that must be the same, by what it is of.

    Times, versions and places, in ``provenance.json``, ``metrics`` and the page, are not among it, nor is the drawing.
    """
    out = Path(out)
    found = {}
    for result in RESULTS:
        folder = out / result
        for path in sorted(folder.rglob("*")):
            name = f"{result}/{path.relative_to(folder)}"
            if path.name.startswith("metrics.") or not path.is_file():
                continue
            if path.suffix == ".parquet":
                found[name] = of_table(pq.read_table(path))
            elif path.suffix in {".pickle", ".pkl"}:
                found[name] = of_pickle(path)
            elif path.suffix == ".csv":
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted((out / "pickles").rglob("*.pickle")):
        found[str(path.relative_to(out))] = of_pickle(path)
    for table in TABLES:
        partitioning = ds.partitioning(pa.schema([("source", pa.string())]), flavor="hive")
        values = ds.dataset(str(out / table / "values"), partitioning=partitioning).to_table()
        order = [(name, "ascending") for name in ("source", "gene", "cell")]
        found[f"{table}/values"] = of_table(values.select(["source", "gene", "cell", "value"]).sort_by(order))
    return found


def of_table(table):
    """Return a digest of a table's columns, floats by their bits; metadata has no part in it."""
    total = hashlib.sha256()
    for name in table.column_names:
        column = table[name].combine_chunks()
        total.update(f"{name} {column.type} ".encode())
        if pa.types.is_floating(column.type):
            total.update(repr(column.is_null().to_pylist()).encode() if column.null_count else b"")
            total.update(column.drop_null().to_numpy(zero_copy_only=False).tobytes())
        else:
            total.update(repr(column.to_pylist()).encode())
    return total.hexdigest()


def of_pickle(path):
    """Return a digest of a pickle's values: its bytes name numpy's modules, which have moved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = pickle.loads(path.read_bytes())  # of our own making, seconds ago
    return hashlib.sha256(repr([(key, plain(value)) for key, value in found.items()]).encode()).hexdigest()


def plain(value):
    """Return a number's text, which tells it to the last bit, or a crick digest's centroids as bytes."""
    if hasattr(value, "centroids"):
        return value.centroids().tobytes().hex(), value.min(), value.max(), value.compression
    return repr(value)


def differences(one, other):
    """Return the names of what differs, or is in one only."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
