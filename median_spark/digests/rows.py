"""From rows in any order to digests: what a partition of any table of genes and values comes down to.

Pure functions over numpy and Arrow. Knows nothing of Spark, nor of where the rows come from.
"""

from collections.abc import Iterator
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.digests.packed import PACKED_SCHEMA, digest_block
from median_spark.expression import GeneBlock
from median_spark.expression.parts import cut_at_genes
from median_spark.gene_values import GeneValues

ROWS_AT_ONCE = 16_000_000
"""Rows that are digested together: 12 bytes each as they come in, and about 40 while they are brought in order. Half as
many would make digests that are hardly smaller than the values, for few genes have more than some hundreds of them."""

_BLOCK_ROWS = 1_000_000
"""Rows whose genes are numbered at once, so that a window holds four bytes of each gene's name and not all of it."""

_STEP_ROWS = 1_000_000
"""Values whose digests are handed over at once: some 10 MB of centroids."""


class Oddity(StrEnum):
    """What a row can hold that is not digested; all but zeros are mistakes."""

    NULL_GENE = "null gene"
    NULL_VALUE = "null value"
    NAN = "NaN"
    INFINITE = "infinity"
    NEGATIVE = "negative number"
    ZERO = "zero"


def digest_rows(
    batches: Iterator[pa.RecordBatch], compression: float, window_rows: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """Digest every gene of a stream of rows, one window of rows after another.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        Columns ``gene``: string, and ``value``: float64, in any order of rows; nulls are found.
    compression : float
        Of the digests.
    window_rows : int
        Rows to hold at once, see `ROWS_AT_ONCE`.

    Yields
    ------
    pyarrow.RecordBatch
        Of `PACKED_SCHEMA`: each gene once a window, with `n` 0 where all of its values in it are zeros. At the end
        comes a row for each `Oddity` that was met: its name as `error`, its rows as `n`, and the gene of one.
    """
    odd = _OddRows()
    genes: list[pa.DictionaryArray] = []
    values: list[npt.NDArray[np.float64]] = []
    held = 0
    for block in _blocks(batches, min(_BLOCK_ROWS, window_rows)):
        of_block, numbers = odd.left_out(block)
        genes.append(of_block.combine_chunks().dictionary_encode())
        values.append(numbers)
        held += len(numbers)
        if held >= window_rows:
            yield from _digest_window(genes, values, compression)
            genes, values, held = [], [], 0
    if held:
        yield from _digest_window(genes, values, compression)
    yield odd.batch()


def _blocks(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Yield the rows of batches of any size again, so many at a time."""
    pending: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        for begin in range(0, batch.num_rows, rows):
            piece = batch.slice(begin, rows)
            pending.append(piece)
            held += piece.num_rows
            if held >= rows:
                yield pa.Table.from_batches(pending)
                pending, held = [], 0
    if held:
        yield pa.Table.from_batches(pending)


class _OddRows:
    """Counts the rows that cannot be digested, by what is odd about them, and leaves them out."""

    def __init__(self) -> None:
        self._rows: dict[Oddity, int] = {}
        self._examples: dict[Oddity, str | None] = {}

    def left_out(self, block: pa.Table) -> tuple[pa.ChunkedArray, npt.NDArray[np.float64]]:
        """Return the genes and the values of all rows but the odd ones; zeros are counted and stay."""
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
                self._rows[oddity] = self._rows.get(oddity, 0) + rows
                self._examples.setdefault(oddity, genes[int(np.argmax(where))].as_py())
        kept = finite & ~no_gene & ~(numbers < 0)
        return genes.filter(pa.array(kept)), numbers[kept]

    def batch(self) -> pa.RecordBatch:
        """Return what was met, a row each."""
        rows = [
            {"gene": self._examples[oddity], "bundle": 0, "n": count, "error": str(oddity)}
            for oddity, count in self._rows.items()
        ]
        return pa.RecordBatch.from_pylist(rows, schema=PACKED_SCHEMA)


def _digest_window(
    genes: list[pa.DictionaryArray], values: list[npt.NDArray[np.float64]], compression: float
) -> Iterator[pa.RecordBatch]:
    """Bring the values of each gene together, and digest them; the lists are emptied on the way."""
    runs = _values_of(genes, values)
    without = runs.genes[runs.lengths == 0].tolist()
    runs = runs.detected()
    for first, last in cut_at_genes(runs.offsets, _STEP_ROWS):
        begin, end = runs.offsets[first], runs.offsets[last]
        some = GeneValues(runs.genes[first:last], runs.offsets[first : last + 1] - begin, runs.values[begin:end])
        yield digest_block(GeneBlock(some, [b""] * (last - first)), 0, compression, exact=False)
    if without:
        empty = {"bundle": 0, "n": 0, "min": np.nan, "max": np.nan, "centroids": b"", "sources": b""}
        yield pa.RecordBatch.from_pylist([{"gene": gene, **empty} for gene in without], schema=PACKED_SCHEMA)


def _values_of(genes: list[pa.DictionaryArray], values: list[npt.NDArray[np.float64]]) -> GeneValues:
    """Return the values above 0 by gene, also of genes that have none."""
    unified = pa.chunked_array(genes).unify_dictionaries()
    genes.clear()
    names = np.asarray(unified.chunk(0).dictionary.to_pylist(), dtype=np.str_)
    order = np.argsort(names)
    # numpy sorts 16 bits by counting, in a fraction of the time that it takes to sort 32 by comparing.
    rank = np.empty(len(names), dtype=np.uint16 if len(names) <= 1 << 16 else np.int32)
    rank[order] = np.arange(len(names))
    gene = np.concatenate([rank[chunk.indices.to_numpy()] for chunk in unified.chunks])
    numbers = np.concatenate(values)
    values.clear()
    above = numbers > 0
    if not above.all():
        gene, numbers = gene[above], numbers[above]
    lengths = np.bincount(gene, minlength=len(names))
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    return GeneValues(names[order], offsets, numbers[np.argsort(gene, kind="stable")])
