"""Reading crick digests from pickles, as the published notebook wrote them, without handing crick anything unchecked.

crick restores a pickled digest by copying its centroids into an array of fixed size, however many there are; so the
pickle is read without crick, and what it says of each digest is checked before it becomes one of ours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.digests.build import Digest
from median_spark.digests.merge import check_compression, check_digests
from median_spark.errors import DigestError, InputError
from median_spark.unpickling import load_plain

_CRICK = "crick.tdigest.TDigest"
_CENTROID_BYTES = 16
_NONE = np.zeros(0, dtype=[("mean", "<f8"), ("weight", "<f8")])
_DRIFT = 1e-9
"""How far, relative to the largest value, a mean may lie past its neighbour. crick updates means step by step, and
their last bits drift; what is further off is no digest."""


@dataclass(frozen=True)
class PickledDigests:
    """What a pickle of digests holds.

    Attributes
    ----------
    digests : dict of str to Digest
        Of the genes with at least one value, in the order of the pickle.
    compressions : dict of str to float
        Of the same genes.
    undetected : list of str
        Genes whose digest is empty.
    """

    digests: dict[str, Digest]
    compressions: dict[str, float]
    undetected: list[str]


def unpickle_digests(content: bytes, location: str) -> PickledDigests:
    """Read a pickled dict of gene to crick digest, of which nothing is run.

    Parameters
    ----------
    content : bytes
        The pickle, of protocol 2 to 5, by numpy 1 or 2.
    location : str
        Where it came from, for messages.

    Raises
    ------
    InputError
        If it holds anything else, which is named; is cut off or damaged; or if a digest is none that crick can make:
        more than ``2 * ceil(compression)`` centroids, means that do not ascend between min and max, weights that are
        not whole, not above 0, or do not add up.
    """
    found = load_plain(content, location, admitted={_CRICK: _Restored(len(content))}, holding="digests")
    if type(found) is not dict:
        message = f"{location}: this pickle holds a {type(found).__name__} where a dict of gene to digest must be"
        raise InputError(message)
    wrong = [
        f"{gene!r:.40} ({type(gene).__name__}) with a {_called(digest)}"
        for gene, digest in found.items()
        if not isinstance(gene, str) or type(digest) is not _PickledDigest
    ]
    if wrong:
        entries = "1 entry of it does" if len(wrong) == 1 else f"{len(wrong):,} entries of it do"
        message = (
            f"{location}: this pickle must lead from names of genes to digests; {entries} not: {'; '.join(wrong[:3])}"
        )
        raise InputError(message)
    made = {str(gene): digest for gene, digest in found.items()}
    held = {gene: pickled for gene, pickled in made.items() if pickled.n or len(pickled.centroids)}
    digests = {gene: _digest(location, gene, pickled) for gene, pickled in held.items()}
    compressions = {gene: made[gene].compression for gene in digests}
    _check(location, digests, compressions)
    return PickledDigests(digests, compressions, [gene for gene in made if gene not in digests])


def first_compression(content: bytes, location: str) -> float | None:
    """Return the compression of the first digest of a pickle, or None if it holds none.

    Parameters
    ----------
    content : bytes
        The pickle, or the beginning of one; the first 256 KiB hold a digest of any compression.
    location : str
        Where it came from, for messages.

    Raises
    ------
    InputError
        See `unpickle_digests`.
    """

    def stop(arguments: tuple[Any, ...], _: tuple[Any, ...]) -> object:
        raise _SeenError(_compression(arguments))

    try:
        load_plain(content, location, admitted={_CRICK: stop}, holding="digests")
    except _SeenError as seen:
        return seen.compression
    return None


class _SeenError(Exception):
    """A digest was seen."""

    def __init__(self, compression: float) -> None:
        super().__init__()
        self.compression = compression


@dataclass(frozen=True)
class _PickledDigest:
    """What a pickle says of a digest."""

    compression: float
    centroids: npt.NDArray[np.void]
    n: float
    min: float
    max: float


class _Restored:
    """Takes what pickles hand to crick's ``__setstate__``.

    A centroid takes 16 bytes; if there are more of them than fit the pickle, digests share theirs, as no honest ones
    do, and would take any amount of memory.
    """

    def __init__(self, size: int) -> None:
        self._spare = size // _CENTROID_BYTES

    def __call__(self, arguments: tuple[Any, ...], state: tuple[Any, ...]) -> object:
        # An empty digest may be pickled without a state.
        centroids, n, low, high = state or (_NONE, 0.0, 0.0, 0.0)
        dtype = getattr(centroids, "dtype", None)
        if (
            not isinstance(centroids, np.ndarray)
            or centroids.ndim != 1
            or dtype is None
            or dtype.names != ("mean", "weight")
            or dtype.itemsize != _CENTROID_BYTES
            or any(dtype[name].kind != "f" or dtype[name].itemsize != 8 for name in dtype.names)
        ):
            message = f"a digest's centroids must be a column of mean and weight, float64, not {dtype}"
            raise ValueError(message)
        self._spare -= len(centroids)
        if self._spare < 0:
            message = "digests share their centroids"
            raise ValueError(message)
        return _PickledDigest(_compression(arguments), centroids, _number(n), _number(low), _number(high))


def _called(found: object) -> str:
    return "digest" if type(found) is _PickledDigest else type(found).__name__


def _compression(arguments: tuple[Any, ...]) -> float:
    (given,) = arguments
    compression = _number(given)
    try:
        check_compression(compression)
    except DigestError as error:
        raise ValueError(str(error).removeprefix("--")) from error
    return compression


def _number(value: object) -> float:
    if not isinstance(value, float | int | np.floating) or isinstance(value, bool):
        message = f"there is a {type(value).__name__} where a number must be"
        raise TypeError(message)
    return float(value)


def _digest(location: str, gene: str, pickled: _PickledDigest) -> Digest:
    """Return a digest whose means ascend to the last bit."""
    given = pickled.centroids["mean"].astype(np.float64)
    weights = np.ascontiguousarray(pickled.centroids["weight"], dtype=np.float64)
    low, high = pickled.min, pickled.max
    means = np.maximum.accumulate(np.clip(given, low, high))
    if not np.array_equal(means, given):
        near = np.abs(means - given) <= _DRIFT * max(abs(low), abs(high))
        if not near.all():
            message = f"{location}: the digest of {gene} is damaged: its means do not ascend between its min and max"
            raise InputError(message)
    if not pickled.n.is_integer() or np.any(weights != np.floor(weights)):
        message = f"{location}: the digest of {gene} counts fractions of values; weights must be whole numbers"
        raise InputError(message)
    return Digest(int(pickled.n), low, high, means, weights)


def _check(location: str, digests: dict[str, Digest], compressions: dict[str, float]) -> None:
    """Refuse digests that crick could not have made, by name."""
    for compression in sorted(set(compressions.values())):
        genes = [gene for gene, own in compressions.items() if own == compression]
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
        message = f"{location}: the digest of {gene} is damaged: {error}"
        raise InputError(message) from error
