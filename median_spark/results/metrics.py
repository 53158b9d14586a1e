"""The metrics row of a result: what was computed, how long each stage took, and the bytes that went in and came out.

Knows nothing of Spark: whoever runs a stage takes its time with a `Stopwatch` and says what is known of it.
"""

import csv
import io
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from median_spark.csv_text import harmless_texts, quoting_of
from median_spark.results.summary import ResultSummary

_SOFTWARE = ("median_spark", "python", "spark", "numpy", "pyarrow", "crick")

_STAGES: Mapping[str, tuple[str, ...]] = {
    "look": ("tasks",),
    "convert": ("tasks", "sources", "bytes_in", "bytes_out"),
    "digest": ("tasks", "bytes_in", "bytes_out"),
    "refine": ("tasks", "rounds", "values_in"),
    "by_source": ("tasks",),
    "merge": ("files", "bytes_in"),
    "write": ("bytes_out",),
}
"""What is known of each stage beside its seconds."""

_FIGURES: tuple[tuple[str, pa.DataType], ...] = (
    ("sources", pa.int64()),
    ("failed_sources", pa.int64()),
    ("sources_apart", pa.int64()),
    ("cells", pa.int64()),
    ("cells_passed", pa.int64()),
    ("values", pa.int64()),
    ("genes", pa.int64()),
    ("genes_detected", pa.int64()),
    ("genes_in_more_than_100_cells", pa.int64()),
    ("genes_in_more_than_1000_cells", pa.int64()),
    ("median_detection_count", pa.float64()),
    ("median_detection_count_of_detected", pa.float64()),
    ("target_sum", pa.float64()),
    ("compression", pa.float64()),
    ("medians_are", pa.string()),
    ("worst_digest_rank_error", pa.float64()),
    ("p99_digest_rank_error", pa.float64()),
)
"""The figures of a summary, under its names; lists are counted."""

METRICS_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string(), False),
        pa.field("written", pa.timestamp("us", "UTC"), False),
        pa.field("result", pa.string(), False),
        *(pa.field(f"{name}_version", pa.string()) for name in _SOFTWARE),
        *(pa.field(name, kind) for name, kind in _FIGURES),
        pa.field("seconds", pa.float64(), False),
        *(
            pa.field(f"{stage}_{figure}", pa.float64() if figure == "seconds" else pa.int64())
            for stage, figures in _STAGES.items()
            for figure in ("seconds", *figures)
        ),
    ]
)
"""Of ``metrics.parquet``; all columns are always there, so that rows of any runs can be put into one table. What a run
did not do, and what is not known, is null."""


@dataclass(frozen=True)
class Stage:
    """What one stage of a run took.

    Attributes
    ----------
    name : str
        ``"look"``, ``"convert"``, ``"digest"``, ``"refine"``, ``"by_source"``, ``"merge"`` or ``"write"``.
    seconds : float
        By the clock on the wall.
    figures : mapping of str to int
        What is known of it, such as tasks and bytes; each is a column ``<stage>_<figure>`` of `METRICS_SCHEMA`.
    """

    name: str
    seconds: float
    figures: Mapping[str, int]


class Stopwatch:
    """Times the stages of one run, one after the other, from its making on.

    Parameters
    ----------
    earlier : iterable of Stage, optional
        Stages that others have timed.
    """

    def __init__(self, earlier: Iterable[Stage] = ()) -> None:
        self._stages = {stage.name: stage for stage in earlier}
        self._begin = time.monotonic()

    def lap(self, name: str, **figures: int) -> None:
        """End a stage that began where the one before it ended; one that comes again adds to what it took before.

        Parameters
        ----------
        name : str
            Of the stage.
        **figures : int
            See `Stage`.
        """
        now = time.monotonic()
        before = self._stages.get(name, Stage(name, 0.0, {}))
        added = {figure: before.figures.get(figure, 0) + number for figure, number in figures.items()}
        self._stages[name] = Stage(name, before.seconds + now - self._begin, {**before.figures, **added})
        self._begin = now

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What the stages took, in the order in which they first ended."""
        return tuple(self._stages.values())


def metrics_table(
    summary: ResultSummary, provenance: Mapping[str, Any], stages: Iterable[Stage], location: str
) -> pa.Table:
    """Return the metrics row of a result.

    Parameters
    ----------
    summary : ResultSummary
        Its figures.
    provenance : mapping
        What ran, and when; of it only ``written`` and ``software`` are taken.
    stages : iterable of Stage
        What each took.
    location : str
        Where the result is.

    Returns
    -------
    pyarrow.Table
        One row of `METRICS_SCHEMA`. Its ``run_id`` is new at every call.

    Raises
    ------
    KeyError
        If a stage or a figure of one has no column.
    """
    written = provenance.get("written")
    software = provenance.get("software", {})
    row: dict[str, Any] = dict.fromkeys(METRICS_SCHEMA.names)
    row["run_id"] = uuid.uuid4().hex
    row["written"] = datetime.fromisoformat(written) if written else datetime.now(UTC)
    row["result"] = location
    row |= {f"{name}_version": software.get(name) for name in _SOFTWARE}
    for name, _ in _FIGURES:
        found = getattr(summary, name)
        row[name] = len(found) if isinstance(found, list) else found
    row["seconds"] = 0.0
    for stage in stages:
        row["seconds"] += stage.seconds
        for figure, number in {"seconds": stage.seconds, **stage.figures}.items():
            column = f"{stage.name}_{figure}"
            if column not in row:
                raise KeyError(column)
            row[column] = number
    return pa.Table.from_pylist([row], schema=METRICS_SCHEMA)


def metrics_csv(table: pa.Table) -> str:
    """Return a metrics row as CSV: a header and a line; times as ISO 8601 in UTC, what is null as nothing."""
    row = harmless_texts(table).to_pylist()[0]
    row["written"] = row["written"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sink = io.StringIO()
    writer = csv.DictWriter(sink, fieldnames=table.column_names, lineterminator="\n", quoting=quoting_of(table))
    writer.writeheader()
    writer.writerow(row)
    return sink.getvalue()
