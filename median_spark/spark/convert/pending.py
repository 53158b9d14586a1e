"""Sources on their way into an expression table whose units are read one by one."""

from dataclasses import dataclass, field

from median_spark.expression import SourceHead, UnitRecord
from median_spark.matrices import SourceFile, Unit


@dataclass
class PendingSource:
    """A source on its way into the table; what its units yielded gathers here.

    Attributes
    ----------
    source : SourceFile
        Its name and file.
    conversion : str
        Fingerprint of file and parameters.
    head : SourceHead
        Facts that are known before its counts are read.
    done : dict of int to UnitRecord
        Record of each finished unit, by its number.
    """

    source: SourceFile
    conversion: str
    head: SourceHead
    done: dict[int, UnitRecord] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """Why it cannot be converted, by its first unit that failed."""
        return next((record.error for _, record in sorted(self.done.items()) if record.error), None)

    @property
    def complete(self) -> bool:
        """Whether all its units are done."""
        return len(self.done) == len(self.head.units)

    @property
    def units_left(self) -> list[Unit]:
        """Units that are not done."""
        return [unit for unit in self.head.units if unit.number not in self.done]
