"""From rows of genes and values in any order to digests.

Pure functions over numpy and Arrow. Knows nothing of Spark, nor of where the rows come from.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests.moments import Moments
from median_spark.digests.packed import PACKED_SCHEMA, digest_block
from median_spark.expression import GeneBlock
from median_spark.expression.parts import cut_at_genes
from median_spark.gene_values import Floats, GeneValues, read_only

ROWS_AT_ONCE = 16_000_000
"""Rows that are digested together: 12 bytes each as they come in, and about 40 while they are sorted. Digests of half
as many would be hardly smaller than the values, because few genes have more than some hundreds of them."""

_BLOCK_ROWS = 1_000_000
"""Rows whose genes are numbered at once, so that a window holds 4 bytes per row instead of the gene's name."""

_STEP_ROWS = 1_000_000
"""Values whose digests are yielded at once: about 10 MB of centroids."""


class Oddity(StrEnum):
    """Contents of a row that are not digested; all but zeros are mistakes."""

    NULL_GENE = "null gene"
    NULL_VALUE = "null value"
    NAN = "NaN"
    INFINITE = "infinity"
    NEGATIVE = "negative number"
    ZERO = "zero"


def digest_rows(
    batches: Iterator[pa.RecordBatch], compression: float, window_rows: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """Digest every gene of a stream of rows, `window_rows` at a time; yield batches of `PACKED_SCHEMA`.

    `batches` have the columns ``gene``: string, and ``value``: float64; nulls are counted. Each window yields each of
    its genes once, with `n` 0 if all of its values there are zeros. At the end comes a row for each `Oddity` that
    occurred: its name as `error`, its number of rows as `n`, and the gene of one.
    """
    odd = _OddRows()
    genes: list[pa.DictionaryArray] = []
    values: list[Floats] = []
    rows = 0
    for block in _blocks(batches, min(_BLOCK_ROWS, window_rows)):
        names, numbers = odd.left_out(block)
        genes.append(names.combine_chunks().dictionary_encode())
        values.append(numbers)
        rows += len(numbers)
        if rows >= window_rows:
            yield from _digest_window(genes, values, compression)
            genes, values, rows = [], [], 0
    if rows:
        yield from _digest_window(genes, values, compression)
    yield odd.batch()


def _blocks(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Yield the rows of batches of any size in blocks of `rows`."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        for begin in range(0, batch.num_rows, rows):
            pending.append(batch.slice(begin, rows))
            if sum(map(len, pending)) >= rows:
                yield pa.Table.from_batches(pending)
                pending = []
    if pending:
        yield pa.Table.from_batches(pending)


class _OddRows:
    """Counts the rows that cannot be digested, by `Oddity`, and leaves them out."""

    def __init__(self) -> None:
        self._rows: dict[Oddity, dict[str, Any]] = {}

    def left_out(self, block: pa.Table) -> tuple[pa.ChunkedArray, Floats]:
        """Return the genes and values of all rows but the odd ones; zeros are counted and stay."""
        genes, values = block.column("gene"), block.column("value")
        numbers = values.to_numpy()  # a null becomes NaN
        if not genes.null_count and numbers.min() > 0 and numbers.max() < np.inf:  # NaN is neither
            return genes, numbers
        no_gene, no_value = genes.is_null().to_numpy(), values.is_null().to_numpy()
        finite = np.isfinite(numbers)
        for oddity, where in (
            (Oddity.NULL_GENE, no_gene),
            (Oddity.NULL_VALUE, no_value),
            (Oddity.NAN, np.isnan(numbers) & ~no_value),
            (Oddity.INFINITE, np.isinf(numbers)),
            (Oddity.NEGATIVE, finite & (numbers < 0)),
            (Oddity.ZERO, numbers == 0),
        ):
            rows = int(np.count_nonzero(where))
            if rows:
                example = genes[int(np.argmax(where))].as_py()
                row = self._rows.setdefault(oddity, {"gene": example, "bundle": 0, "n": 0, "error": str(oddity)})
                row["n"] += rows
        kept = finite & ~no_gene & ~(numbers < 0)
        return genes.filter(pa.array(kept)), numbers[kept]

    def batch(self) -> pa.RecordBatch:
        """Return one row per oddity that occurred."""
        return pa.RecordBatch.from_pylist(list(self._rows.values()), schema=PACKED_SCHEMA)


def _digest_window(
    genes: list[pa.DictionaryArray], values: list[Floats], compression: float
) -> Iterator[pa.RecordBatch]:
    """Bring the values of each gene together, and digest them; empties the lists to save memory."""
    window = _values_of(genes, values)
    zeros_only = window.genes[window.lengths == 0].tolist()
    window = window.detected()
    for first, last in cut_at_genes(window.offsets, _STEP_ROWS):
        begin, end = window.offsets[first], window.offsets[last]
        step = GeneValues(window.genes[first:last], window.offsets[first : last + 1] - begin, window.values[begin:end])
        no_sources = pa.array([b""] * (last - first), pa.binary())
        yield digest_block(GeneBlock(step, no_sources), 0, compression, exact=False)
    if zeros_only:
        empty = {"bundle": 0, "n": 0, "min": np.nan, "max": np.nan, "centroids": b"", "sources": b"",
                 "moments": Moments(0, 0).pack()}  # fmt: skip
        yield pa.RecordBatch.from_pylist([{"gene": gene, **empty} for gene in zeros_only], schema=PACKED_SCHEMA)


def _values_of(genes: list[pa.DictionaryArray], values: list[Floats]) -> GeneValues:
    """Return the values above 0 by gene; genes without any are kept."""
    from median_spark.digests.loops import count_by_gene, place_by_gene  # numba takes half a second: only workers wait

    unified = pa.chunked_array(genes).unify_dictionaries()
    genes.clear()
    names = np.asarray(unified.chunk(0).dictionary.to_pylist(), dtype=np.str_)
    order = np.argsort(names)
    ranks = np.empty(len(names), dtype=np.int32)
    ranks[order] = np.arange(len(names))
    indices = [chunk.indices.to_numpy() for chunk in unified.chunks]
    lengths = np.zeros(len(names), dtype=np.int64)
    for numbers, some in zip(values, indices, strict=True):
        count_by_gene(ranks, some, read_only(numbers), lengths)
    offsets = np.append(0, np.cumsum(lengths))
    ends, placed = offsets[:-1].copy(), np.empty(offsets[-1])
    for some in indices:
        place_by_gene(ranks, some, read_only(values.pop(0)), ends, placed)
    return GeneValues(names[order], offsets, placed)
