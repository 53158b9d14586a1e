"""Reading crick digests from pickles, as the published notebook wrote them, without handing crick anything unchecked.

crick restores a pickled digest by copying its centroids into an array of fixed size, however many there are. So pickles
are read in a guarded child, where a stand-in takes what they hand to crick, and every digest is checked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark import pickles
from median_spark.digests.build import Digest
from median_spark.digests.merge import check_compression, check_digests
from median_spark.errors import DigestError, InputError, counted
from median_spark.guard import read_guarded

_CRICK = "crick.tdigest.TDigest"
_WHAT = "a dict of gene to digest"
_CENTROID = np.dtype([("mean", "<f8"), ("weight", "<f8")])
_FLOATS = {_CENTROID: np.dtype("<f8"), _CENTROID.newbyteorder(): np.dtype(">f8")}
_DRIFT = 1e-9
"""How far, relative to the largest value, a mean may lie past its neighbour. crick updates means step by step, and
their last bits drift; what is further off is no digest."""

_MOST_VALUES = 2**53
"""Whole numbers of values are exact up to here."""

Floats = npt.NDArray[np.float64]
_Parts = tuple[float, Floats, float, float, float]
"""Of a digest: compression, centroids as mean, weight, mean, weight, …, n, min and max."""


@dataclass(frozen=True)
class PickledDigests:
    """Contents of a pickle of digests.

    Attributes
    ----------
    digests : dict of str to Digest
        Digests of the genes with at least one value, in the order of the pickle.
    compressions : dict of str to float
        Compressions of the same genes' digests.
    undetected : list of str
        Genes whose digest is empty.
    """

    digests: dict[str, Digest]
    compressions: dict[str, float]
    undetected: list[str]


def unpickle_digests(content: bytes, location: str) -> PickledDigests:
    """Read a pickled dict of gene to crick digest, in a guarded child, and check every digest.

    Parameters
    ----------
    content : bytes
        The pickle, of any protocol, by numpy 1 or 2.
    location : str
        Path or URI of the pickle, for messages.

    Raises
    ------
    InputError
        If it holds anything else, which is named; is cut off or damaged; takes too much time or memory; or if a digest
        is none that crick can make: more than ``2 * ceil(compression)`` centroids, means that do not ascend between
        min and max, weights that are not whole, not above 0, or do not add up.
    """
    limits = pickles.limits_for(content)
    columns: _Columns = read_guarded(location, _read, content, location, limits=limits)
    compressions = dict(zip(columns.genes, columns.compressions.tolist(), strict=True))
    return PickledDigests(dict(zip(columns.genes, columns.digests(), strict=True)), compressions, columns.undetected)


def first_compression(content: bytes, location: str) -> float | None:
    """Return the compression of the first digest of a pickle, or None if it holds none.

    Parameters
    ----------
    content : bytes
        The pickle, or the beginning of one; the first 256 KiB hold a digest of any compression.
    location : str
        Path or URI of the pickle, for messages.

    Raises
    ------
    InputError
        See `unpickle_digests`.
    """
    limits = pickles.limits_for(content)
    found: float | None = read_guarded(location, _read_first, content, location, limits=limits)
    return found


@dataclass(frozen=True)
class _Columns:
    """Checked digests as a few arrays, which pass between processes much faster than thousands of objects."""

    genes: list[str]
    undetected: list[str]
    compressions: Floats
    n: Floats
    low: Floats
    high: Floats
    ends: npt.NDArray[np.int64]
    means: Floats
    weights: Floats

    def digests(self) -> list[Digest]:
        """Return the digests, as views of the arrays."""
        columns = [column.tolist() for column in (self.n, self.low, self.high)]
        return [
            Digest(int(n), low, high, self.means[begin:end], self.weights[begin:end])
            for n, low, high, (begin, end) in zip(*columns, pairwise([0, *self.ends.tolist()]), strict=True)
        ]


class _PickledDigest:
    """Takes what pickles hand to crick's ``TDigest`` and its ``__setstate__``."""

    __slots__ = ("_compression", "_state")

    def __init__(self, compression: object) -> None:
        self._compression = compression
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def parts(self) -> _Parts:
        """Return what the digest consists of; raise one of `pickles.DAMAGE` if it is of other types."""
        compression = _compression(self._compression)
        if not self._state:  # an empty digest may be pickled without a state
            return compression, np.zeros(0), 0.0, 0.0, 0.0
        array, n, low, high = self._state
        centroids = array.column() if type(array) is pickles.PickledArray else None
        if centroids is None or centroids.dtype not in _FLOATS:
            found = pickles.described(array) if centroids is None else f"an array of dtype {centroids.dtype}"
            message = f"its centroids must be a column of mean and weight, float64, not {found:.200}"
            raise ValueError(message)
        return compression, centroids.view(_FLOATS[centroids.dtype]), _number(n), _number(low), _number(high)


def _read(content: bytes, location: str) -> _Columns:
    """Return the checked digests; the part of `unpickle_digests` that is guarded."""
    found = _entries(pickles.load(content, location, _WHAT, {_CRICK: _PickledDigest}), location)
    undetected: list[str] = []
    detected: dict[str, _Parts] = {}
    spare = len(content)
    for gene, digest in found.items():
        try:
            parts = digest.parts()
        except pickles.DAMAGE as error:
            message = f"{location}: the digest of {gene:.60} is damaged ({type(error).__name__}: {str(error)[:200]})"
            raise InputError(message) from error
        spare -= parts[1].nbytes
        if spare < 0:  # honest ones share none; others would take any memory
            message = f"{location}: digests share their centroids, such as that of {gene:.60}"
            raise InputError(message)
        if parts[2] or len(parts[1]):
            detected[gene] = parts
        else:
            undetected.append(gene)
    return _checked(location, list(detected), undetected, list(detected.values()))


def _read_first(content: bytes, location: str) -> float | None:
    def stop(compression: object) -> object:
        raise _FoundError(_compression(compression))

    try:
        _entries(pickles.load(content, location, _WHAT, {_CRICK: stop}), location)
    except _FoundError as found:
        return found.compression
    return None


class _FoundError(Exception):
    """A digest was found."""

    def __init__(self, compression: float) -> None:
        super().__init__()
        self.compression = compression


def _entries(found: object, location: str) -> dict[str, Any]:
    """Return a dict of names to digests; refuse anything else."""
    if type(found) is not dict:
        message = f"{location}: this pickle holds {pickles.described(found)}; it must be {_WHAT}"
        raise InputError(message)
    wrong = [
        entry
        for entry in found.items()
        if pickles.unfit(entry[0]) or type(entry[0]) is not str or type(entry[1]) is not _PickledDigest
    ]
    if wrong:
        gene, digest = wrong[0]
        name = pickles.unfit(gene) or f"{gene!r:.40} ({type(gene).__name__})"
        message = (
            f"{location}: this pickle must be {_WHAT}; {counted(len(wrong), 'entry is', 'entries are')} not, "
            f"such as {name} with {pickles.described(digest)}"
        )
        raise InputError(message)
    return found


def _compression(value: object) -> float:
    compression = _number(value)
    try:
        check_compression(compression)
    except DigestError as error:
        raise ValueError(str(error)) from error
    return compression


def _number(value: object) -> float:
    if type(value) not in (float, int):
        message = f"there is {pickles.described(value)} where a number must be"
        raise TypeError(message)
    return float(value)  # type: ignore[arg-type]


def _checked(
    location: str,
    genes: list[str],
    undetected: list[str],
    parts: Sequence[_Parts],
) -> _Columns:
    """Return digests whose means ascend to the last bit; refuse those that crick could not have made, by name."""
    compressions, n, low, high = (np.array([part[i] for part in parts], dtype=np.float64) for i in (0, 2, 3, 4))
    sizes = np.array([len(part[1]) // 2 for part in parts], dtype=np.int64)
    ends = np.cumsum(sizes)
    centroids = np.concatenate([np.zeros(0), *(part[1] for part in parts)])
    weights = centroids[1::2].copy()
    means, near = _in_order(centroids[0::2], sizes, low, high)

    def refuse(wrong: npt.NDArray[np.bool_], of: Callable[[int], int], what: str) -> None:
        if wrong.any():
            message = f"{location}: the digest of {genes[of(int(wrong.argmax()))]:.60} {what}"
            raise InputError(message)

    def of_centroid(place: int) -> int:
        return int(np.searchsorted(ends, place, side="right"))

    fractions = "counts fractions of values; weights must be whole numbers"
    refuse(~near, of_centroid, "is damaged: its means do not ascend between its min and max")
    refuse(weights != np.floor(weights), of_centroid, fractions)
    refuse(~np.isfinite(n) | (n != np.floor(n)), int, fractions)
    refuse(np.abs(n) > _MOST_VALUES, int, f"counts more than {_MOST_VALUES:,} values")
    columns = _Columns(genes, undetected, compressions, n, low, high, ends, means, weights)
    _check(location, dict(zip(genes, columns.digests(), strict=True)), compressions)
    return columns


def _in_order(
    given: Floats, sizes: npt.NDArray[np.int64], low: Floats, high: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return means that ascend between min and max in every digest, and which of those given are near them."""
    lows, highs = np.repeat(low, sizes), np.repeat(high, sizes)
    means = np.clip(given, lows, highs).astype(np.float64)
    number = np.repeat(np.arange(len(sizes)), sizes)
    descends = (means[1:] < means[:-1]) & (number[1:] == number[:-1])
    ends = np.cumsum(sizes)
    for digest in np.unique(number[1:][descends]).tolist():
        within = slice(ends[digest] - sizes[digest], ends[digest])
        means[within] = np.maximum.accumulate(means[within])
    with np.errstate(invalid="ignore"):
        near = (means == given) | (np.abs(means - given) <= _DRIFT * np.maximum(np.abs(lows), np.abs(highs)))
    return means, near


def _check(location: str, digests: dict[str, Digest], compressions: Floats) -> None:
    """Refuse digests that crick could not have made, by name."""
    by_compression: dict[float, list[str]] = {}
    for gene, compression in zip(digests, compressions.tolist(), strict=True):
        by_compression.setdefault(compression, []).append(gene)
    for compression, genes in by_compression.items():
        try:
            check_digests([digests[gene] for gene in genes], compression)
        except DigestError as error:
            for gene in genes:
                _check_one(location, gene, digests[gene], compression)
            message = f"{location}: its digests are damaged: {error}"
            raise InputError(message) from error


def _check_one(location: str, gene: str, digest: Digest, compression: float) -> None:
    try:
        check_digests([digest], compression)
    except DigestError as error:
        message = f"{location}: the digest of {gene:.60} is damaged: {error}"
        raise InputError(message) from error
