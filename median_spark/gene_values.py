"""GeneValues: genes, offsets, values (and cells), the one shape that data takes in memory.

Pure numpy. Knows neither files nor formats.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Names = npt.NDArray[np.str_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_Number = TypeVar("_Number", np.float64, np.int32)


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


def read_only(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that cannot be written to, as Arrow's are: loops are compiled for one type of array."""
    view = numbers.view()
    view.setflags(write=False)
    return view


def distinct_in_runs(numbers: npt.NDArray[_Number], offsets: Ints) -> tuple[npt.NDArray[_Number], Ints, Ints]:
    """Return the distinct ones of each run of ascending numbers, how often each occurs in its run, and their offsets.

    Run i has ``numbers[offsets[i]:offsets[i + 1]]``.
    """
    fresh = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    fresh[offsets[:-1][np.diff(offsets) > 0]] = True
    counts = np.diff(np.append(np.flatnonzero(fresh), len(numbers)))
    return numbers[fresh], counts, np.append(0, np.cumsum(fresh))[offsets]
