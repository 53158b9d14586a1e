"""How far medians move with the sources at hand: counts in fixed bins, and the medians of subsets of the sources.

Sources are dealt into at most 16 buckets. For each gene and bucket, values are counted in bins between 0.8 and 1.6 %
wide, so counts add up to the same numbers however sources are cut into bundles. A subset of buckets has the sums of
their counts, and a median that is interpolated within a bin: an estimate, good to a fraction of a per cent.
Pure functions over numpy. Nothing is random, and no step depends on the processor.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, cycle, islice
from typing import Self

import numpy as np
import numpy.typing as npt

from median_spark.gene_values import Floats, Ints

MOST_BUCKETS = 16

FRACTIONS = (16, 8, 4, 2)
"""A subset of the sources that has one bucket in so many of them."""

HALVES = 24
"""Halves of the buckets: pairs that have no bucket in common, chosen by a hash."""

ORDERS = 8
"""Orders in which the corpus grows."""

_SHIFT = 46  # of a float64's bits: 64 bins between a number and twice that number
_BUCKET_BITS = 4
_MOST_PLACES = 1 << 15  # bins whose counts in all subsets are held at once: 20 MB
_LOST = np.inf

UInt8s = npt.NDArray[np.uint8]
UInt32s = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Stability:
    """How far the medians of some genes are from those of all sources, shape (genes,) each.

    A distance of 0.1 is a factor of 1.1, up or down. It is infinite where most subsets have no value of the gene.
    """

    halves: Floats  # distance of a random half of the sources, at the median of `HALVES`
    left_out: Floats  # largest distance when one bucket is left out
    ratios: Floats  # shape (genes, 4): median of 1/16, 1/8, 1/4 and 1/2 of the sources over that of all; NaN if none
    distances: Floats  # shape (genes, 4): their distances, at the median of `ORDERS`; NaN where buckets are too few

    def pack(self) -> list[bytes]:
        """Return the figures of each gene as bytes."""
        rows = np.column_stack([self.halves, self.left_out, self.ratios, self.distances])
        return [row.tobytes() for row in rows.astype("<f8")]

    @classmethod
    def unpack(cls, packed: Sequence[bytes]) -> Self:
        """Return the figures of genes from their bytes."""
        sizes = len(FRACTIONS)
        rows = np.frombuffer(b"".join(packed), dtype="<f8").reshape(len(packed), 2 + 2 * sizes)
        return cls(rows[:, 0], rows[:, 1], rows[:, 2 : 2 + sizes], rows[:, 2 + sizes :])


def deal_sources(names: Sequence[str], values: Sequence[int]) -> UInt8s:
    """Deal sources into buckets of about equally many values; return the bucket of each.

    There are 16 buckets, or the largest power of 2 that is not more than the number of sources. Which sources come
    together depends on their values and, among equals, on a hash of their names.
    """
    number = 1 << (min(MOST_BUCKETS, len(names)).bit_length() - 1) if len(names) else 1
    order = sorted(range(len(names)), key=lambda place: (-values[place], _hash(names[place])))
    held, sources = [0] * number, [0] * number
    buckets = np.zeros(len(names), dtype=np.uint8)
    for place in order:
        least = min(range(number), key=lambda bucket: (held[bucket], sources[bucket], bucket))
        held[least] += values[place]
        sources[least] += 1
        buckets[place] = least
    return buckets


def number_of(buckets: UInt8s | None) -> int:
    """Return the number of buckets that sources were dealt into; 0 if they were not."""
    return 0 if buckets is None else int(buckets.max()) + 1


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def sketch_values(values: Floats, offsets: Ints, buckets: UInt8s) -> list[bytes]:
    """Count the values of each gene by bin and bucket; return the counts of each gene as bytes.

    Gene i has ``values[offsets[i]:offsets[i + 1]]``, at least one, in any order; `buckets` has the bucket of each.
    """
    if not len(values):
        return []
    bins = values.view(np.int64) >> _SHIFT
    low = np.minimum.reduceat(bins, offsets[:-1])
    spans = np.maximum.reduceat(bins, offsets[:-1]) - low + 1
    ends = np.cumsum(spans)
    shift = np.repeat(ends - spans - low, np.diff(offsets))
    keys = ((bins + shift) << _BUCKET_BITS) | buckets
    found, counts = _counted(keys, int(ends[-1]) << _BUCKET_BITS)
    bounds = np.searchsorted(found, np.append(0, ends) << _BUCKET_BITS)
    gene = np.repeat(np.arange(len(low)), np.diff(bounds))
    keys_within = found - ((ends - spans - low)[gene] << _BUCKET_BITS)
    return [
        _pack(keys_within[begin:end], counts[begin:end])
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _counted(keys: Ints, space: int) -> tuple[Ints, Ints]:
    """Return the keys that occur, ascending, and how often; keys are below `space`."""
    if space > 4 * len(keys):
        return np.unique(keys, return_counts=True)
    counts = np.bincount(keys, minlength=space)
    found = np.flatnonzero(counts)
    return found, counts[found]


def _pack(keys: Ints, counts: Ints) -> bytes:
    return np.concatenate([keys, counts]).astype("<u4").tobytes()


def _unpack(sketch: bytes) -> tuple[UInt32s, UInt32s]:
    both = np.frombuffer(sketch, dtype="<u4")
    return both[: len(both) // 2], both[len(both) // 2 :]


def merge_sketches(sketches: Sequence[bytes]) -> bytes:
    """Return the counts of all sketches of one gene."""
    parts = [_unpack(sketch) for sketch in sketches]
    keys, place = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, place, np.concatenate([counts for _, counts in parts]))
    return _pack(keys.astype(np.int64), counts)


def stability_of(sketches: Sequence[bytes], buckets: int) -> Stability:
    """Return how far the medians of genes move over subsets of so many buckets, 2, 4, 8 or 16."""
    medians = _medians(sketches, _subsets(buckets))
    whole = medians[:, :1]
    with np.errstate(invalid="ignore"):
        distances = np.maximum(medians / whole, whole / medians) - 1
    distances[np.isnan(medians)] = _LOST
    halves, left_out, orders = np.split(distances[:, 1:], [HALVES, HALVES + buckets], axis=1)
    ratios = np.split(medians[:, 1:] / whole, [HALVES, HALVES + buckets], axis=1)[2]
    sizes = [fraction for fraction in FRACTIONS if fraction <= buckets]
    shape = (len(sketches), ORDERS, len(sizes))
    missing = np.full((len(sketches), len(FRACTIONS) - len(sizes)), np.nan)
    return Stability(
        np.median(halves, axis=1),
        left_out.max(axis=1),
        np.concatenate([missing, _median_of_known(ratios.reshape(shape))], axis=1),
        np.concatenate([missing, np.median(orders.reshape(shape), axis=1)], axis=1),
    )


def _median_of_known(ratios: Floats) -> Floats:
    """Return the medians over the orders, axis 1; NaN where fewer than half are known."""
    lost = np.isnan(ratios)
    middle = np.median(np.where(lost, _LOST, ratios), axis=1)
    return np.where(np.isfinite(middle), middle, np.nan)


@cache
def _subsets(buckets: int) -> Floats:
    """Return which buckets each subset has, shape (buckets, subsets).

    The first has all; then come halves, all but one bucket each, and the sizes of `FRACTIONS` within each order.
    """
    everything = range(buckets)
    # Of each half and the rest of the buckets, one has the first bucket.
    pairs = [half for half in combinations(everything, buckets // 2) if 0 in half or buckets == 1]
    chosen = islice(cycle(sorted(pairs, key=lambda half: _hash(f"half {half}"))), HALVES // 2)
    halves = [side for half in chosen for side in (half, set(everything) - set(half))]
    left_out = [set(everything) - {bucket} for bucket in everything]
    # Orders begin at other places of one circle, so that each bucket is in equally many subsets of a size.
    circle = sorted(everything, key=lambda bucket: _hash(f"order {bucket}")) * 2
    orders = [circle[begin : begin + buckets] for begin in (number * buckets // ORDERS for number in range(ORDERS))]
    growing = [order[: buckets // fraction] for order in orders for fraction in FRACTIONS if fraction <= buckets]
    subsets = [everything, *halves, *left_out, *growing]
    matrix = np.zeros((buckets, len(subsets)), dtype=np.float64)
    for number, subset in enumerate(subsets):
        matrix[list(subset), number] = 1
    return matrix


def _medians(sketches: Sequence[bytes], subsets: Floats) -> Floats:
    """Return the median of each gene in each subset, shape (genes, subsets); NaN where it has no value."""
    medians = np.full((len(sketches), subsets.shape[1]), np.nan)
    entries = [_unpack(sketch) for sketch in sketches]
    low = np.array([keys[0] >> _BUCKET_BITS for keys, _ in entries], dtype=np.int64)
    spans = np.array([keys[-1] >> _BUCKET_BITS for keys, _ in entries], dtype=np.int64) - low + 1
    begin = 0
    while begin < len(entries):
        ends = np.cumsum(spans[begin:])
        end = begin + max(int(np.searchsorted(ends, _MOST_PLACES, side="right")), 1)
        medians[begin:end] = _medians_at_once(
            entries[begin:end], low[begin:end], ends[: end - begin], spans[begin:end], subsets
        )
        begin = end
    return medians


def _medians_at_once(
    entries: Sequence[tuple[UInt32s, UInt32s]], low: Ints, ends: Ints, spans: Ints, subsets: Floats
) -> Floats:
    """Return the medians of genes whose bins are laid end to end, see `_medians`.

    Gene i has ``spans[i]`` bins from ``low[i]`` on, at the places before ``ends[i]``.
    """
    lengths = [len(keys) for keys, _ in entries]
    keys = np.concatenate([keys for keys, _ in entries]).astype(np.int64)
    place = (keys >> _BUCKET_BITS) + np.repeat(ends - spans - low, lengths)
    counts = np.zeros((len(subsets), int(ends[-1])), dtype=np.float64)
    counts[keys & (MOST_BUCKETS - 1), place] = np.concatenate([counts for _, counts in entries])
    # All are whole numbers far below 2**53, so that sums are exact in any order.
    up_to = np.cumsum(subsets.T @ counts, axis=1)
    before = np.hstack([np.zeros((len(up_to), 1)), up_to])
    base, last = before[:, ends - spans], before[:, ends]
    bits = (np.arange(int(ends[-1])) + np.repeat(low - (ends - spans), spans)) << _SHIFT
    lower, upper = bits.view(np.float64), (bits + (1 << _SHIFT)).view(np.float64)
    medians = np.full(base.shape, np.nan)
    for number, known in enumerate(last > base):
        middle = (base[number, known] + last[number, known]) / 2
        sides = []
        for side in ("left", "right"):  # of an even number of values, the two in the middle may be far apart
            at = np.searchsorted(up_to[number], middle, side=side)
            within = (middle - before[number, at]) / (before[number, at + 1] - before[number, at])
            sides.append(lower[at] + within * (upper[at] - lower[at]))
        medians[number, known] = (sides[0] + sides[1]) / 2
    return medians.T
