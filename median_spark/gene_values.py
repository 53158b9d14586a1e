"""GeneValues: genes, offsets, values (and cells): the one shape that data takes in memory.

Pure numpy. Knows neither files nor formats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GeneValues:
    """The values of some genes, one contiguous run a gene.

    Attributes
    ----------
    genes : ndarray of str, shape (genes,)
        Ensembl ids, ascending, each once.
    offsets : ndarray of int64, shape (genes + 1,)
        Run i is ``values[offsets[i]:offsets[i + 1]]``.
    values : ndarray of float64, shape (values,)
        Counts per `target_sum`, all > 0.
    cells : ndarray of int32, shape (values,), or None
        The cell of each value, ascending within a run, where cells are kept.
    """

    genes: npt.NDArray[np.str_]
    offsets: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        lengths = np.diff(self.offsets)
        sound = (
            len(self.offsets) == len(self.genes) + 1
            and self.offsets[0] == 0
            and self.offsets[-1] == len(self.values)
            and not np.any(lengths < 0)
            and not np.any(self.genes[1:] <= self.genes[:-1])
            and (self.cells is None or len(self.cells) == len(self.values))
        )
        if not sound:
            message = "genes must ascend, and offsets must cut the values into one run a gene"
            raise ValueError(message)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Values of each gene, shape (genes,)."""
        return np.diff(self.offsets)

    def run(self, index: int) -> npt.NDArray[np.float64]:
        """Return the values of one gene, a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def detected(self) -> "GeneValues":
        """Return the same runs without genes that have no value."""
        keep = self.lengths > 0
        if keep.all():
            return self
        offsets = np.concatenate([[0], np.cumsum(self.lengths[keep])])
        return GeneValues(self.genes[keep], offsets.astype(np.int64), self.values, self.cells)


def join_gene_values(parts: Sequence[GeneValues]) -> GeneValues:
    """Return one set of runs over all genes of several, the values of a gene in the order of the parts.

    Parameters
    ----------
    parts : sequence of GeneValues
        Any number of them; cells are not carried over.
    """
    if len(parts) == 1:
        only = parts[0]
        return GeneValues(only.genes, only.offsets, only.values)
    if not parts:
        return GeneValues(np.array([], dtype=np.str_), np.zeros(1, dtype=np.int64), np.array([], dtype=np.float64))
    genes, gene_of_segment = np.unique(np.concatenate([part.genes for part in parts]), return_inverse=True)
    part_of_segment = np.repeat(np.arange(len(parts)), [len(part.genes) for part in parts])
    starts = np.concatenate([part.offsets[:-1] for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    # A stable sort by gene keeps the parts in order within a gene.
    order = np.argsort(gene_of_segment, kind="stable")
    totals = np.bincount(gene_of_segment, weights=lengths, minlength=len(genes)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(totals)])
    values = np.concatenate(
        [parts[part_of_segment[i]].values[starts[i] : starts[i] + lengths[i]] for i in order]
        or [np.array([], dtype=np.float64)]
    )
    return GeneValues(genes, offsets, values)
