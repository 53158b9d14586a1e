"""What was compared, and what differed."""

from dataclasses import dataclass, field

import numpy as np

from median_spark.display import printable
from median_spark.errors import counted

_SHOWN = 20


@dataclass
class Verification:
    """What was compared, and what differed.

    Attributes
    ----------
    compared : list of str
        Sentences, one for each thing that was looked at.
    differences : list of str
        Sentences, one for each difference.
    """

    compared: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def check(self, place: str, what: str, found: object, expected: object) -> None:
        """Note a difference unless two findings are equal, bit for bit; NaN equals NaN, and None."""
        if found != expected and not (_missing(found) and _missing(expected)):
            self.differences.append(f"{place}: {what} is {found!r}, recomputed {expected!r}")

    def text(self) -> str:
        """Return all of it for people, the first differences only."""
        lines = self.compared + [f"DIFFERENT: {difference}" for difference in self.differences[:_SHOWN]]
        if len(self.differences) > _SHOWN:
            lines.append(f"… and {len(self.differences) - _SHOWN:,} more differences")
        lines.append("all equal" if not self.differences else f"{counted(len(self.differences), 'difference')} found")
        return "\n".join(map(printable, lines))


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
