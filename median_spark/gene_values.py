"""GeneValues: genes, offsets, values (and cells), the one shape that data takes in memory.

Pure numpy. Knows neither files nor formats.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Names = npt.NDArray[np.str_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GeneValues:
    """The values of some genes, those of one gene side by side."""

    genes: Names  # Ensembl ids, ascending, each once
    offsets: Ints  # gene i has values[offsets[i]:offsets[i + 1]]
    values: Floats  # counts per `target_sum`, all > 0
    cells: npt.NDArray[np.int32] | None = None  # of each value, ascending within a gene; None where cells are not kept
    groups: npt.NDArray[np.int32] | None = None  # of each value, by its cell; None where cells are not grouped

    def __post_init__(self) -> None:
        sound = (
            len(self.offsets) == len(self.genes) + 1
            and self.offsets[0] == 0
            and self.offsets[-1] == len(self.values)
            and not np.any(self.lengths < 0)
            and not np.any(self.genes[1:] <= self.genes[:-1])
            and all(each is None or len(each) == len(self.values) for each in (self.cells, self.groups))
        )
        if not sound:
            message = "genes must ascend, and offsets must cut the values into one range per gene"
            raise ValueError(message)

    @property
    def lengths(self) -> Ints:
        """Number of values of each gene, shape (genes,)."""
        return np.diff(self.offsets)

    def of_gene(self, index: int) -> Floats:
        """Return the values of one gene, a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def detected(self) -> "GeneValues":
        """Return the same values without genes that have none."""
        keep = self.lengths > 0
        if keep.all():
            return self
        offsets = np.append(0, self.offsets[1:][keep])
        return GeneValues(self.genes[keep], offsets, self.values, self.cells, self.groups)
