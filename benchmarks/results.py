"""What was measured, every repeat of it, and the JSON that keeps it."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

SCHEMA_VERSION = 1


@dataclass
class Result:
    """What one way of doing one piece of work took.

    Attributes
    ----------
    section : str
        ``loom``, ``h5ad``, ``zarr``, ``formats``, ``profile``, ``shuffle``, ``plan``, ``medians`` or ``run``.
    case : str
        Piece of work of the section: a number of rows, or the input.
    way : str
        Its key, see `subject.ROOMS`; what people read is `label`.
    seconds : list of float
        Every repeat.
    discarded : list of float
        First runs, which fill caches and are not counted.
    startup : float
        Seconds from the start of its process until it was ready.
    memory : dict of str to int
        Bytes at most, see `memory.TreeMemory`.
    found : dict
        Figures about what it found or wrote.
    note : str
        Why it has fewer repeats than others, or none.
    """

    section: str
    case: str
    way: str
    label: str
    seconds: list[float] = field(default_factory=list)
    discarded: list[float] = field(default_factory=list)
    startup: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float | None:
        """Median of the repeats in seconds, None without any."""
        return statistics.median(self.seconds) if self.seconds else None


@dataclass
class Measurements:
    """All that one run of the benchmarks measured.

    Attributes
    ----------
    sizes : dict
        Sizes of what was written and measured, see `sizes.Sizes`.
    machine : dict of str to str
        Processor, memory and versions of the machine.
    date : str
    results : list of Result
    """

    sizes: dict[str, Any]
    machine: dict[str, str]
    date: str
    results: list[Result] = field(default_factory=list)

    def of(self, section: str, case: str | None = None) -> list[Result]:
        """Return the results of a section, or of one case of it."""
        return [each for each in self.results if each.section == section and case in (None, each.case)]

    def find(self, section: str, case: str, way: str) -> Result | None:
        """Return a result, None if there is none or it has no figure."""
        found = [each for each in self.of(section, case) if each.way == way and each.seconds]
        return found[0] if found else None

    def cases(self, section: str) -> list[str]:
        """Return the cases of a section, in the order in which they were measured."""
        return list(dict.fromkeys(each.case for each in self.of(section)))

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("schema_version")
        if version != SCHEMA_VERSION:
            message = f"{path}: its schema_version is {version}, not {SCHEMA_VERSION}: measure again"
            raise SystemExit(message)
        results = [Result(**each) for each in content.pop("results")]
        return cls(**content, results=results)
