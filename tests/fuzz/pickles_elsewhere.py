"""What a pickle says by Python's own unpickler, restricted to plain values; digests are recorded, not made."""

import collections
import math
import numbers
import pickle
from pathlib import Path
from typing import Any

import numpy as np


class _Digest:
    """What a pickle says of a digest."""

    def __init__(self, compression: float) -> None:
        self.compression = compression
        self.state: tuple[Any, ...] = (np.zeros(0, [("mean", "<f8"), ("weight", "<f8")]), 0.0, 0.0, 0.0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("crick.tdigest", "TDigest"):
            return _Digest
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        plain = {"builtins": {"set", "frozenset", "bytearray", "complex"}, "_codecs": {"encode"}}
        if module.startswith("numpy") and name in {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}:
            return super().find_class(module, name)
        if name in plain.get(module, ()):
            return super().find_class(module, name)
        message = f"{module}.{name}"
        raise pickle.UnpicklingError(message)


def read_by_python(path: Path, reader: str) -> dict[str, Any]:
    """Return what a pickle says as a gene map, as medians to compare with, or as digests."""
    with path.open("rb") as file:
        found = _Restricted(file).load()
    if reader == "gene map":
        return {name.upper(): str(gene) for name, gene in found.items() if name and gene}
    if reader == "compare":
        medians = {str(gene): _number(median) for gene, median in found.items()}
        return {gene: median for gene, median in medians.items() if not math.isnan(median)}
    made = {}
    for gene, digest in found.items():
        centroids, n, low, high = digest.state
        if n:
            means = np.maximum.accumulate(np.clip(centroids["mean"], low, high))
            made[gene] = (n, low, high, *means.tolist(), *centroids["weight"].tolist())
    return made


def _number(median: Any) -> float:
    if median is None or median == "":
        return math.nan
    if isinstance(median, bool) or not isinstance(median, (str, numbers.Real)):
        raise TypeError
    return float(median)
