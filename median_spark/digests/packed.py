"""Digests in Arrow batches: of a sweep, as they are shuffled, and merged by gene."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests.build import Digest, DigestColumns, digest_columns, sort_values, sorted_medians
from median_spark.digests.crick import medians_of, merge_digests, rank_error
from median_spark.digests.grouped import GroupsOfSweep, GroupWork
from median_spark.digests.moments import Moments, add_moments, packed_moments, unpack_moments
from median_spark.digests.stability import UInt8s, merge_sketches, number_of, sketch_values, stability_of
from median_spark.errors import DigestError, MedianSparkError
from median_spark.expression import GeneBlock, SweepPlan, binary_array, sweep
from median_spark.gene_values import Floats, GeneValues

PACKED_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("bundle", pa.int32()),
        ("n", pa.int64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("centroids", pa.binary()),
        ("sources", pa.binary()),
        ("median", pa.float64()),
        ("rank_error", pa.float64()),
        ("moments", pa.binary()),
        ("sketch", pa.binary()),
        ("stability", pa.binary()),
        ("error", pa.string()),
    ]
)
"""A digest of a gene; `centroids` as `pack` writes them, `sources` the numbers of its sources as ascending int32,
`moments` as `Moments.pack` does, and where all of its values were at hand their `median` and the rank error of the
digest's. Where it is asked for, there is a `sketch` of the values at hand, or, of all values, the gene's `stability` as
`Stability.pack` writes it. A row with an `error` stands for a sweep that could not read a part, and has nothing else.
All columns may be null."""

Row = dict[str, Any]

_MERGED_ROWS = 2_000


def digest_sweep(
    plan: SweepPlan,
    number: int,
    compression: float,
    *,
    exact: bool,
    work: GroupWork | None = None,
    buckets: UInt8s | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read one sweep and digest its genes: yield batches of `PACKED_SCHEMA`, genes ascending.

    With `exact`, exact medians are added if the plan lets a sweep see all values of a gene. `work` says what is to be
    done about groups of cells. With `buckets`, one for each source, sketches are added, or stability.
    """
    bundle = int(plan.bundle_of_sweep[number])
    exact = exact and plan.bundles == 1
    groups = GroupsOfSweep(work, plan) if work is not None else None
    try:
        for block in sweep(plan, number):
            if groups is not None:
                digested = groups.add(block)
                if digested is not None:
                    yield digest_block(digested, bundle, compression, exact=exact)
            if work is None or work.corpus:
                batch = digest_block(block, bundle, compression, exact=exact, buckets=buckets)
                yield with_stability(batch, number_of(buckets)) if plan.bundles == 1 else batch
        if groups is not None:
            groups.write(number)
    except MedianSparkError as error:
        yield pa.RecordBatch.from_pylist([{"gene": "", "bundle": bundle, "error": error.text}], schema=PACKED_SCHEMA)


def digest_block(
    block: GeneBlock, bundle: int, compression: float, *, exact: bool, buckets: UInt8s | None = None
) -> pa.RecordBatch:
    """Return the digest of every gene of a block, of `PACKED_SCHEMA`; its values are sorted in place.

    With `buckets`, one for each source, there are sketches, for which the block must know its runs.
    """
    values = block.gene_values
    sketches = None
    if buckets is not None and block.runs is not None:
        sources, lengths = block.runs
        sketches = sketch_values(values.values, values.offsets, np.repeat(buckets[sources], lengths))
    sort_values(values)
    digests = digest_columns(values, compression)
    genes = len(digests)
    return pa.RecordBatch.from_pydict(
        {
            "gene": values.genes,
            "bundle": np.full(genes, bundle, dtype=np.int32),
            "n": values.lengths,
            "min": digests.min,
            "max": digests.max,
            "centroids": _pack_columns(digests),
            "sources": block.sources,
            "median": sorted_medians(values.values, values.offsets) if exact else pa.nulls(genes, pa.float64()),
            "rank_error": _rank_errors(values, digests) if exact else pa.nulls(genes, pa.float64()),
            "moments": packed_moments(values.values, values.offsets),
            "sketch": pa.nulls(genes, pa.binary()) if sketches is None else sketches,
            "stability": pa.nulls(genes, pa.binary()),
            "error": pa.nulls(genes, pa.string()),
        },
        schema=PACKED_SCHEMA,
    )


def _rank_errors(values: GeneValues, digests: DigestColumns) -> Floats:
    """Return the rank errors of the digests' medians among the sorted values that the digests were made of."""
    from median_spark.digests.loops import rank_values  # numba takes half a second: only who digests waits

    below, up_to = np.empty((2, len(digests)), dtype=np.int64)
    rank_values(values.values, values.offsets, medians_of(digests), below, up_to)
    return rank_error(below, up_to, digests.n)


def merge_batches(batches: Iterator[pa.RecordBatch], compression: float, buckets: int = 0) -> Iterator[pa.RecordBatch]:
    """Merge the digests of each gene in the order in which they come; batches of `PACKED_SCHEMA` in and out.

    Rows ascend by gene, and have a fixed order within a gene, such as that of bundles. With `buckets`, the
    number of them, sketches become stability.
    """
    merged = merge_rows(batches, "gene", lambda gene, rows: [_merged_row(gene, list(rows), compression)], PACKED_SCHEMA)
    return (with_stability(batch, buckets) for batch in merged)


def with_stability(batch: pa.RecordBatch, buckets: int) -> pa.RecordBatch:
    """Return a batch of `PACKED_SCHEMA` with the stability of each gene over so many buckets in place of its sketch.

    The same batch if there are no buckets.
    """
    sketches = batch.column("sketch")
    if not buckets:
        return batch
    there = sketches.is_valid().to_numpy(zero_copy_only=False)
    packed = np.full(len(batch), None, dtype=object)
    packed[there] = stability_of(sketches.drop_null().to_pylist(), buckets).pack()
    replaced = {"sketch": pa.nulls(len(batch), pa.binary()), "stability": pa.array(packed.tolist(), pa.binary())}
    columns = [replaced.get(name, batch.column(name)) for name in PACKED_SCHEMA.names]
    return pa.RecordBatch.from_arrays(columns, schema=PACKED_SCHEMA)


def merge_rows(
    batches: Iterator[pa.RecordBatch], key: str, merge: Callable[[Any, Iterator[Row]], Iterable[Row]], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Merge the rows of each value of the column `key`, which come together, over any number of batches.

    `merge` takes a value and its rows, and returns rows of `schema`. Rows with an `error` pass through, wherever they
    are.
    """
    merged: list[Row] = []

    def without_errors() -> Iterator[Row]:
        for batch in batches:
            for row in batch.to_pylist():
                if row["error"] is None:
                    yield row
                else:
                    merged.append(row)

    for value, rows in groupby(without_errors(), key=itemgetter(key)):
        merged.extend(list(merge(value, rows)))
        if len(merged) >= _MERGED_ROWS:
            yield pa.RecordBatch.from_pylist(merged, schema=schema)
            merged.clear()
    if merged:
        yield pa.RecordBatch.from_pylist(merged, schema=schema)


def pack(digest: Digest) -> bytes:
    """Return the centroids as bytes: all means, then all weights, float64 little-endian."""
    return np.concatenate([digest.means, digest.weights]).astype("<f8").tobytes()


def _pack_columns(digests: DigestColumns) -> pa.BinaryArray:
    """Return what `pack` returns, of every digest."""
    offsets, sizes = digests.offsets, np.diff(digests.offsets)
    packed = np.empty(2 * len(digests.means), dtype="<f8")
    place = np.arange(len(digests.means)) + np.repeat(offsets[:-1], sizes)
    packed[place] = digests.means
    packed[place + np.repeat(sizes, sizes)] = digests.weights
    return binary_array(packed, 2 * offsets)


def unpack(n: int, low: float, high: float, packed: bytes) -> Digest:
    """Return a digest from the bytes of `pack` and its n, min and max; raise `DigestError` for damaged bytes."""
    if len(packed) % 16:
        message = f"packed centroids must be pairs of float64, 16 bytes each; there are {len(packed)} bytes"
        raise DigestError(message)
    columns = np.frombuffer(packed, dtype="<f8")
    half = len(columns) // 2
    return Digest(n, low, high, columns[:half], columns[half:])


def unpack_table(table: pa.Table) -> tuple[list[Digest], list[int], list[Moments]]:
    """Return the digests of a table of `PACKED_SCHEMA`, and the number of sources and the moments of each."""
    fields = (table[name].to_pylist() for name in ("n", "min", "max", "centroids"))
    digests = [unpack(*row) for row in zip(*fields, strict=True)]
    n_sources = [len(packed) // 4 for packed in table["sources"].to_pylist()]
    return digests, n_sources, [unpack_moments(packed) for packed in table["moments"].to_pylist()]


def _merged_row(gene: str, rows: list[Row], compression: float) -> Row:
    digests = [unpack(row["n"], row["min"], row["max"], row["centroids"]) for row in rows]
    digest = merge_digests([digest for digest in digests if digest.n] or digests[:1], compression)
    numbers = np.unique(np.frombuffer(b"".join(row["sources"] for row in rows), dtype="<i4"))
    sketches = [row["sketch"] for row in rows if row["sketch"] is not None]
    return {
        "gene": gene,
        "bundle": 0,
        "n": digest.n,
        "min": digest.min,
        "max": digest.max,
        "centroids": pack(digest),
        "sources": numbers.tobytes(),
        "moments": add_moments(unpack_moments(row["moments"]) for row in rows).pack(),
        "sketch": merge_sketches(sketches) if sketches else None,
    }
