"""Digests in Arrow batches: of a sweep, as they are shuffled, and merged by gene."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark.digests.build import Digest, DigestColumns, digest_columns, sort_values, sorted_medians
from median_spark.digests.crick import check_digests, medians_of, merge_runs, rank_error
from median_spark.digests.grouped import GroupsOfSweep, GroupWork
from median_spark.digests.moments import add_moments, mean_and_sd_of, packed_moments, unpack_moments
from median_spark.digests.stability import UInt8s, merge_sketches, number_of, sketch_values, stability_of
from median_spark.errors import DigestError, MedianSparkError
from median_spark.expression import GeneBlock, SweepPlan, binary_array, sweep
from median_spark.gene_values import Floats, GeneValues, Ints, distinct_in_runs

PACKED_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("bundle", pa.int32()),
        ("n", pa.int64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("centroids", pa.binary()),
        ("sources", pa.binary()),
        ("n_sources", pa.int64()),
        ("median", pa.float64()),
        ("rank_error", pa.float64()),
        ("moments", pa.binary()),
        ("mean", pa.float64()),
        ("sd", pa.float64()),
        ("sketch", pa.binary()),
        ("stability", pa.binary()),
        ("error", pa.string()),
    ]
)
"""A digest of a gene; `centroids` has all means and then all weights, float64 little-endian. A digest of some of the
gene's values has the numbers of their `sources` as ascending int32, their exact sums in `moments` as `Moments.pack`
returns them and, where it is asked for, a `sketch` of them. The digest of all has how many sources there are in
`n_sources`, the values' `mean` and `sd`, NaN for one value, and the gene's `stability` as `Stability.pack` writes it:
the lists of a large corpus would fill the driver. Where the values themselves were at hand, there are their `median`
and the rank error of the digest's. A row with an `error` stands for a sweep that could not read a part, and has nothing
else. All columns may be null."""

_MERGED_ROWS = 10_000
"""Rows that are merged at once: some 40 MB of centroids."""


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
                    batch = digest_block(digested, bundle, compression, exact=exact)
                    yield of_all_values(batch) if plan.bundles == 1 else batch
            if work is None or work.corpus:
                batch = digest_block(block, bundle, compression, exact=exact, buckets=buckets)
                yield of_all_values(batch, number_of(buckets)) if plan.bundles == 1 else batch
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
    genes = len(digests.n)
    return pa.RecordBatch.from_pydict(
        {
            "gene": values.genes,
            "bundle": np.full(genes, bundle, dtype=np.int32),
            "n": values.lengths,
            "min": digests.min,
            "max": digests.max,
            "centroids": _pack_columns(digests),
            "sources": block.sources,
            "n_sources": pa.nulls(genes, pa.int64()),
            "median": sorted_medians(values.values, values.offsets) if exact else pa.nulls(genes, pa.float64()),
            "rank_error": _rank_errors(values, digests) if exact else pa.nulls(genes, pa.float64()),
            "moments": packed_moments(values.values, values.offsets),
            "mean": pa.nulls(genes, pa.float64()),
            "sd": pa.nulls(genes, pa.float64()),
            "sketch": pa.nulls(genes, pa.binary()) if sketches is None else sketches,
            "stability": pa.nulls(genes, pa.binary()),
            "error": pa.nulls(genes, pa.string()),
        },
        schema=PACKED_SCHEMA,
    )


def _rank_errors(values: GeneValues, digests: DigestColumns) -> Floats:
    """Return the rank errors of the digests' medians among the sorted values that the digests were made of."""
    from median_spark.digests.loops import rank_values  # numba takes half a second: only who digests waits

    below, up_to = np.empty((2, len(digests.n)), dtype=np.int64)
    rank_values(values.values, values.offsets, medians_of(digests), below, up_to)
    return rank_error(below, up_to, digests.n)


def merge_batches(batches: Iterator[pa.RecordBatch], compression: float, buckets: int = 0) -> Iterator[pa.RecordBatch]:
    """Merge the digests of each gene in the order in which they come; batches of `PACKED_SCHEMA` in and out.

    Rows ascend by gene, and have a fixed order within a gene, such as that of bundles. Rows with an `error` pass
    through. What is yielded is of all values of its gene, see `of_all_values`.
    """
    held: list[pa.RecordBatch] = []
    for batch in batches:
        # A session may have 64-bit offsets, see spark.sql.execution.arrow.useLargeVarTypes.
        rows = _one_batch([batch])
        wrong = rows.column("error").is_valid()
        if wrong.true_count:
            yield rows.filter(wrong)
        held.append(rows.filter(pc.invert(wrong)) if wrong.true_count else rows)
        if sum(map(len, held)) >= _MERGED_ROWS:
            rows = _one_batch(held)
            last = int(_runs_of(rows)[-2])  # the last gene may go on in the next batch
            if last:
                yield of_all_values(_merged(rows.slice(0, last), compression), buckets)
            held = [rows.slice(last)]
    if any(map(len, held)):
        yield of_all_values(_merged(_one_batch(held), compression), buckets)


def _one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return batches as one of `PACKED_SCHEMA`."""
    table = pa.Table.from_batches(batches).cast(PACKED_SCHEMA).combine_chunks()
    batch: pa.RecordBatch = table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], PACKED_SCHEMA)
    return batch


def _runs_of(rows: pa.RecordBatch) -> Ints:
    """Return where the rows of each gene begin, and at the end how many rows there are."""
    genes = rows["gene"]
    begins = pc.not_equal(genes.slice(1), genes.slice(0, max(len(genes) - 1, 0))).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(begins) + 1, [len(genes)]])


def _merged(rows: pa.RecordBatch, compression: float) -> pa.RecordBatch:
    """Merge the rows of each gene, at least one row in all; sketches are merged, too."""
    runs = _runs_of(rows)
    genes = len(runs) - 1
    digests = _unpack_columns(rows)
    # What has no value is left out, but for the first of a gene that has none at all.
    values = np.append(0, np.cumsum(digests.n > 0))
    kept = digests.n > 0
    kept[runs[:-1][values[runs[1:]] == values[runs[:-1]]]] = True
    digests = digests.only(kept)
    check_digests(digests, compression)
    merged = merge_runs(digests, np.append(0, np.cumsum(kept))[runs], compression)
    moments = rows["moments"].to_pylist()
    sketches = rows["sketch"].to_pylist() if rows["sketch"].null_count < len(rows) else None
    bounds = list(pairwise(runs.tolist()))
    return pa.RecordBatch.from_pydict(
        {
            "gene": rows["gene"].take(pa.array(runs[:-1])),
            "bundle": np.zeros(genes, dtype=np.int32),
            "n": merged.n,
            "min": merged.min,
            "max": merged.max,
            "centroids": _pack_columns(merged),
            "sources": _union_of_sources(rows["sources"], runs),
            "n_sources": pa.nulls(genes, pa.int64()),
            "median": pa.nulls(genes, pa.float64()),
            "rank_error": pa.nulls(genes, pa.float64()),
            "moments": [add_moments(map(unpack_moments, moments[begin:end])).pack() for begin, end in bounds],
            "mean": pa.nulls(genes, pa.float64()),
            "sd": pa.nulls(genes, pa.float64()),
            "sketch": pa.nulls(genes, pa.binary())
            if sketches is None
            else [_merged_sketch(sketches[begin:end]) for begin, end in bounds],
            "stability": pa.nulls(genes, pa.binary()),
            "error": pa.nulls(genes, pa.string()),
        },
        schema=PACKED_SCHEMA,
    )


def _merged_sketch(sketches: list[bytes | None]) -> bytes | None:
    known = [sketch for sketch in sketches if sketch is not None]
    return merge_sketches(known) if known else None


def _union_of_sources(packed: pa.BinaryArray, runs: Ints) -> pa.BinaryArray:
    """Return the distinct numbers of sources of each run of rows, ascending."""
    numbers, offsets = _numbers_in(packed, np.dtype("<i4"))
    ends = offsets[runs]
    ordered = np.lexsort((numbers, np.repeat(np.arange(len(runs) - 1), np.diff(ends))))
    distinct, _, bounds = distinct_in_runs(numbers[ordered], ends)
    return binary_array(distinct, bounds)


def _numbers_in(packed: pa.BinaryArray, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], Ints]:
    """Return the numbers that rows of bytes hold, and where those of each row begin, shape (rows + 1,)."""
    begins = np.frombuffer(packed.buffers()[1], dtype="<i4")[packed.offset : packed.offset + len(packed) + 1]
    content = np.frombuffer(packed.buffers()[2] or b"", dtype=np.uint8)[begins[0] : begins[-1]]
    offsets = begins.astype(np.int64) - int(begins[0])
    return content.copy().view(dtype), offsets // dtype.itemsize  # a copy, for compiled loops take aligned numbers only


def of_all_values(batch: pa.RecordBatch, buckets: int = 0) -> pa.RecordBatch:
    """Return a batch of `PACKED_SCHEMA` whose digests are of all values of their genes.

    They have the number of sources in place of their list, mean and standard deviation in place of sums and, if there
    are buckets, stability over so many of them in place of sketches.
    """
    n_sources = pc.divide(pc.binary_length(batch.column("sources")), 4).cast(pa.int64())
    none = pa.nulls(len(batch), pa.binary())
    replaced = {"sources": none, "n_sources": n_sources, "moments": none, **_mean_and_sd(batch)}
    if buckets:
        sketches = batch.column("sketch")
        there = sketches.is_valid().to_numpy(zero_copy_only=False)
        packed = np.full(len(batch), None, dtype=object)
        packed[there] = stability_of(sketches.drop_null().to_pylist(), buckets).pack()
        replaced |= {"sketch": pa.nulls(len(batch), pa.binary()), "stability": pa.array(packed.tolist(), pa.binary())}
    columns = [replaced.get(name, batch.column(name)) for name in PACKED_SCHEMA.names]
    return pa.RecordBatch.from_arrays(columns, schema=PACKED_SCHEMA)


def _mean_and_sd(batch: pa.RecordBatch) -> dict[str, pa.DoubleArray]:
    """Return the columns ``mean`` and ``sd`` from ``moments``, null for a gene without values."""
    n, least, most = (batch.column(name).to_numpy() for name in ("n", "min", "max"))
    without = n == 0
    mean, sd = np.empty(len(batch)), np.empty(len(batch))
    moments = [unpack_moments(packed) for packed in batch.column("moments").filter(pa.array(~without)).to_pylist()]
    mean[~without], sd[~without] = mean_and_sd_of(moments, n[~without], (least == most)[~without])
    return {"mean": pa.array(mean, mask=without), "sd": pa.array(sd, mask=without)}


def _pack_columns(digests: DigestColumns) -> pa.BinaryArray:
    """Return the centroids of each digest as bytes: all means, then all weights, float64 little-endian."""
    offsets, sizes = digests.offsets, np.diff(digests.offsets)
    packed = np.empty(2 * len(digests.means), dtype="<f8")
    place = np.arange(len(digests.means)) + np.repeat(offsets[:-1], sizes)
    packed[place] = digests.means
    packed[place + np.repeat(sizes, sizes)] = digests.weights
    return binary_array(packed, 2 * offsets)


def _unpack_columns(rows: pa.RecordBatch) -> DigestColumns:
    """Return the digests of all rows; raise `DigestError` for centroids that are damaged."""
    packed = rows["centroids"]
    lengths = pc.binary_length(packed).to_numpy()
    if np.any(lengths % 16):
        message = (
            f"packed centroids must be pairs of float64, 16 bytes each; there are {lengths[lengths % 16 > 0][0]} bytes"
        )
        raise DigestError(message)
    numbers, offsets = _numbers_in(packed, np.dtype("<f8"))
    sizes = np.diff(offsets) // 2
    ends = np.append(0, np.cumsum(sizes))
    place = np.arange(ends[-1]) + np.repeat(ends[:-1], sizes)
    n, low, high = (rows[name].to_numpy() for name in ("n", "min", "max"))
    return DigestColumns(n, low, high, ends, numbers[place], numbers[place + np.repeat(sizes, sizes)])


def unpack_table(table: pa.Table) -> tuple[list[Digest], list[int], list[tuple[float, float]]]:
    """Return the digests of all values in a table of `PACKED_SCHEMA`, each one's number of sources, and mean and sd."""
    digests = [digest for batch in table.to_batches() for digest in _unpack_columns(batch).digests()]
    means = list(zip(table["mean"].to_pylist(), table["sd"].to_pylist(), strict=True))
    return digests, table["n_sources"].to_pylist(), means
