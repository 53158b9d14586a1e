"""The metrics row of a result: what was computed, how long each stage took, and the bytes that went in and came out.

Knows nothing of Spark: the caller that runs a stage times it with a `Stopwatch` and adds its figures.
"""

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from median_spark.results.layout import METRICS_FIGURES, METRICS_SCHEMA, METRICS_SOFTWARE
from median_spark.results.provenance import Provenance
from median_spark.results.summary import ResultSummary


@dataclass(frozen=True)
class Stage:
    """What one stage of a run took.

    Name and figures (such as tasks and bytes) are the columns ``<stage>_<figure>`` of `METRICS_SCHEMA`.
    """

    name: str
    seconds: float  # wall-clock time
    figures: Mapping[str, int]


class Stopwatch:
    """Times the stages of one run, one after the other; `earlier` are stages that were timed elsewhere."""

    def __init__(self, earlier: Iterable[Stage] = ()) -> None:
        self._stages = {stage.name: stage for stage in earlier}
        self._begin = time.monotonic()

    def lap(self, name: str, **figures: int) -> None:
        """End a stage that began where the one before it ended; one that comes again adds to its earlier figures."""
        now = time.monotonic()
        before = self._stages.get(name, Stage(name, 0.0, {}))
        added = {figure: before.figures.get(figure, 0) + number for figure, number in figures.items()}
        self._stages[name] = Stage(name, before.seconds + now - self._begin, {**before.figures, **added})
        self._begin = now

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What the stages took, in the order in which they first ended."""
        return tuple(self._stages.values())


def metrics_table(summary: ResultSummary, provenance: Provenance, stages: Iterable[Stage], location: str) -> pa.Table:
    """Return one row of `METRICS_SCHEMA`, with a new ``run_id`` at every call.

    Raises KeyError if a stage or a figure of one has no column.
    """
    row: dict[str, Any] = dict.fromkeys(METRICS_SCHEMA.names)
    row["run_id"] = uuid.uuid4().hex
    row["written"] = datetime.fromisoformat(provenance.written) if provenance.written else datetime.now(UTC)
    row["result"] = location
    row |= {f"{name}_version": provenance.software.get(name) for name in METRICS_SOFTWARE}
    for name in METRICS_FIGURES.names:
        figure = getattr(summary, name)
        row[name] = len(figure) if isinstance(figure, list) else figure
    row["seconds"] = 0.0
    for stage in stages:
        row["seconds"] += stage.seconds
        for figure, number in {"seconds": stage.seconds, **stage.figures}.items():
            column = f"{stage.name}_{figure}"
            if column not in row:
                raise KeyError(column)
            row[column] = number
    return pa.Table.from_pylist([row], schema=METRICS_SCHEMA)
