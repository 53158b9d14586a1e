"""Reading crick digests from pickles, as the published notebook wrote them, without handing crick anything unchecked.

crick restores a pickled digest by copying its centroids into an array of fixed size, however many there are. So pickles
are read in a guarded child, where a stand-in takes the place of crick's class, and every digest is checked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark import pickles
from median_spark.digests.build import Digest
from median_spark.digests.crick import CENTROID, check_compression, check_digests
from median_spark.errors import DigestError, InputError, counted
from median_spark.gene_values import Floats, Ints
from median_spark.guard import read_guarded

_CRICK = "crick.tdigest.TDigest"
_WHAT = "a dict of gene to digest"
_FLOATS = {CENTROID: np.dtype("<f8"), CENTROID.newbyteorder(): np.dtype(">f8")}
_DRIFT = 1e-9
"""How far, relative to the largest value, a mean may lie past its neighbour. crick updates means step by step, and
their last bits drift; what is further off is not a digest."""

_MOST_VALUES = 2**53
"""Whole numbers are exact in float64 up to here."""

_Parts = tuple[float, Floats, float, float, float]
"""A digest's compression, centroids as mean, weight, mean, weight, …, n, min and max."""


@dataclass(frozen=True)
class PickledDigests:
    """Checked contents of a pickle of digests, in its order; as few arrays, which pass between processes quickly.

    `genes` have at least one value, `undetected` an empty digest. Gene i has ``means[ends[i - 1]:ends[i]]``, and the
    same of `weights`.
    """

    genes: list[str]
    undetected: list[str]
    compression_of_gene: Floats
    n: Floats
    low: Floats
    high: Floats
    ends: Ints
    means: Floats
    weights: Floats

    @property
    def digests(self) -> dict[str, Digest]:
        """The digests of `genes`, as views of the arrays."""
        columns = [column.tolist() for column in (self.n, self.low, self.high)]
        return {
            gene: Digest(int(n), low, high, self.means[begin:end], self.weights[begin:end])
            for gene, n, low, high, (begin, end) in zip(
                self.genes, *columns, pairwise([0, *self.ends.tolist()]), strict=True
            )
        }

    @property
    def compressions(self) -> dict[str, float]:
        """The compressions of `digests`."""
        return dict(zip(self.genes, self.compression_of_gene.tolist(), strict=True))


def unpickle_digests(content: bytes, location: str) -> PickledDigests:
    """Read a pickled dict of gene to crick digest, by numpy 1 or 2, in a guarded child, and check every digest.

    `location` is for messages. Raises `InputError`, with the cause, if the pickle holds anything else, is cut off or
    damaged, or takes too much time or memory; and if a digest is none that crick can make: see `check_digests`, and
    weights must be whole numbers.
    """
    digests: PickledDigests = read_guarded(location, _read, content, location, limits=pickles.limits_for(content))
    return digests


def first_compression(content: bytes, location: str) -> float | None:
    """Return the compression of the first digest of a pickle, or None if it has none; raises as `unpickle_digests`.

    The first 256 KiB of a pickle are enough: they hold a digest of any compression.
    """
    limits = pickles.limits_for(content)
    compression: float | None = read_guarded(location, _read_first, content, location, limits=limits)
    return compression


class _PickledDigest:
    """Stands in for crick's ``TDigest`` while a pickle is read, and keeps its unchecked state."""

    __slots__ = ("_compression", "_state")

    def __init__(self, compression: object) -> None:
        self._compression = compression
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def parts(self) -> _Parts:
        """Return the parts of the digest; raise one of `pickles.DAMAGE` if they have other types."""
        compression = _compression(self._compression)
        if not self._state:  # an empty digest may be pickled without a state
            return compression, np.zeros(0), 0.0, 0.0, 0.0
        array, n, low, high = self._state
        centroids = array.column() if type(array) is pickles.PickledArray else None
        if centroids is None or centroids.dtype not in _FLOATS:
            what = pickles.described(array) if centroids is None else f"an array of dtype {centroids.dtype}"
            message = f"its centroids must be a column of mean and weight, float64, not {what:.200}"
            raise ValueError(message)
        return compression, centroids.view(_FLOATS[centroids.dtype]), _number(n), _number(low), _number(high)


def _read(content: bytes, location: str) -> PickledDigests:
    """Return the checked digests; the guarded part of `unpickle_digests`."""
    entries = _entries(pickles.load(content, location, _WHAT, {_CRICK: _PickledDigest}), location)
    undetected: list[str] = []
    detected: dict[str, _Parts] = {}
    spare = len(content)
    for gene, digest in entries.items():
        try:
            parts = digest.parts()
        except pickles.DAMAGE as error:
            message = f"{location}: the digest of {gene:.60} is damaged ({type(error).__name__}: {str(error)[:200]})"
            raise InputError(message) from error
        spare -= parts[1].nbytes
        if spare < 0:  # sound digests share none; shared ones could take any amount of memory
            message = f"{location}: digests share their centroids, such as that of {gene:.60}"
            raise InputError(message)
        if parts[2] or len(parts[1]):
            detected[gene] = parts
        else:
            undetected.append(gene)
    return _checked(location, list(detected), undetected, list(detected.values()))


def _read_first(content: bytes, location: str) -> float | None:
    def stop(compression: object) -> object:
        raise _FirstDigest(_compression(compression))

    try:
        _entries(pickles.load(content, location, _WHAT, {_CRICK: stop}), location)
    except _FirstDigest as first:
        compression: float = first.args[0]
        return compression
    return None


class _FirstDigest(Exception):  # noqa: N818
    """Ends reading a pickle at its first digest, whose compression it carries."""


def _entries(content: object, location: str) -> dict[str, Any]:
    """Return a dict of names to digests; refuse anything else."""
    if type(content) is not dict:
        message = f"{location}: this pickle holds {pickles.described(content)}; it must be {_WHAT}"
        raise InputError(message)
    wrong = [
        entry
        for entry in content.items()
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
    return content


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


def _checked(location: str, genes: list[str], undetected: list[str], parts: Sequence[_Parts]) -> PickledDigests:
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
    checked = PickledDigests(genes, undetected, compressions, n, low, high, ends, means, weights)
    _check(location, checked)
    return checked


def _in_order(stored: Floats, sizes: Ints, low: Floats, high: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return means that ascend between min and max in every digest, and which of the stored means are near them."""
    lows, highs = np.repeat(low, sizes), np.repeat(high, sizes)
    means = np.clip(stored, lows, highs).astype(np.float64)
    number = np.repeat(np.arange(len(sizes)), sizes)
    descends = (means[1:] < means[:-1]) & (number[1:] == number[:-1])
    ends = np.cumsum(sizes)
    for digest in np.unique(number[1:][descends]).tolist():
        within = slice(ends[digest] - sizes[digest], ends[digest])
        means[within] = np.maximum.accumulate(means[within])
    with np.errstate(invalid="ignore"):
        near = (means == stored) | (np.abs(means - stored) <= _DRIFT * np.maximum(np.abs(lows), np.abs(highs)))
    return means, near


def _check(location: str, pickled: PickledDigests) -> None:
    """Refuse digests that crick could not have made, by name."""
    digests = pickled.digests
    by_compression: dict[float, list[str]] = {}
    for gene, compression in pickled.compressions.items():
        by_compression.setdefault(compression, []).append(gene)
    for compression, genes in by_compression.items():
        # All at once first, which is much faster; one by one to name the damaged one.
        error = _damage([digests[gene] for gene in genes], compression)
        if error is not None:
            each = ((gene, _damage([digests[gene]], compression)) for gene in genes)
            gene, cause = next((pair for pair in each if pair[1]), (genes[0], error))
            message = f"{location}: the digest of {gene:.60} is damaged: {cause}"
            raise InputError(message) from cause


def _damage(digests: Sequence[Digest], compression: float) -> DigestError | None:
    try:
        check_digests(digests, compression)
    except DigestError as error:
        return error
    return None
