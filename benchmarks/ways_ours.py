"""median_spark's own ways: the command, and its steps in a session that is warm."""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
from ways_table import COUNTS, notebook_session
from work import Found, Work, figures

from median_spark import CellQuery, MedianOptions, ResultOptions
from median_spark.expression import WINDOW_ROWS


@contextlib.contextmanager
def command(looms: str, scratch: str) -> Iterator[Work]:
    """Give `median-spark run` as a process of its own, Python and Spark started anew every time."""
    program = str(Path(sys.executable).with_name("median-spark"))
    with _fresh_folders(
        scratch, lambda out: subprocess.run([program, "run", looms, "--out", out, "--quiet"], check=True), _run
    ) as work:
        yield work


@contextlib.contextmanager
def run_warm(looms: str, warm_up: str, scratch: str) -> Iterator[Work]:
    """Give `median_spark.run` in a session that has run once on a small corpus."""
    from median_spark import run, spark_session

    with spark_session() as spark, _fresh_folders(scratch, lambda out: run(looms, out, spark=spark), _run) as work:
        with tempfile.TemporaryDirectory(dir=scratch) as out:
            run(warm_up, out, spark=spark)
        yield work


@contextlib.contextmanager
def medians_exact(table: str, warm_up: str, scratch: str, window_rows: int = WINDOW_ROWS) -> Iterator[Work]:
    with _medians_warm(table, warm_up, scratch, exact=True, window_rows=window_rows) as work:
        yield work


@contextlib.contextmanager
def medians_unwritten(table: str, warm_up: str) -> Iterator[Work]:
    """Give exact medians as all other programs give theirs, in memory."""
    from median_spark import spark_session, table_medians

    with spark_session() as spark:

        def work(location: str = table) -> Found:
            medians = table_medians(location, spark=spark).table["median"].drop_null().to_pylist()
            return figures(median for median in medians if not math.isnan(median))

        work(warm_up)
        yield work


@contextlib.contextmanager
def medians_no_exact(table: str, warm_up: str, scratch: str) -> Iterator[Work]:
    with _medians_warm(table, warm_up, scratch, exact=False) as work:
        yield work


@contextlib.contextmanager
def medians_bundles(table: str, warm_up: str, scratch: str, window_rows: int) -> Iterator[Work]:
    """Give exact medians as a corpus gets them that is too large for one window: merged, and refined."""
    with _medians_warm(table, warm_up, scratch, exact=True, window_rows=window_rows) as work:
        yield work


@contextlib.contextmanager
def medians_by_assay(table: str, warm_up: str, scratch: str) -> Iterator[Work]:
    """Give exact medians of the corpus and of a few large groups of cells."""
    with _medians_warm(table, warm_up, scratch, exact=True, by="assay") as work:
        yield work


@contextlib.contextmanager
def medians_by_donor(table: str, warm_up: str, scratch: str) -> Iterator[Work]:
    """Give exact medians of the corpus and of many small groups of cells."""
    with _medians_warm(table, warm_up, scratch, exact=True, by="donor") as work:
        yield work


@contextlib.contextmanager
def medians_of_cells(table: str, warm_up: str, scratch: str) -> Iterator[Work]:
    """Give exact medians of half of the cells."""
    with _medians_warm(table, warm_up, scratch, exact=True, cells=CellQuery("is_primary_data")) as work:
        yield work


@contextlib.contextmanager
def _medians_warm(
    table: str,
    warm_up: str,
    scratch: str,
    *,
    exact: bool,
    window_rows: int = WINDOW_ROWS,
    cells: CellQuery | None = None,
    by: str = "",
) -> Iterator[Work]:
    """Give `median_spark.medians` in a session that has run once on a small table."""
    from median_spark import medians, spark_session

    options = MedianOptions(exact=exact, window_rows=window_rows, cells=cells)
    outputs = ResultOptions(by=(by,) if by else ())

    def once(out: str, location: str = table) -> None:
        medians(location, out, spark=spark, options=options, outputs=outputs)

    with spark_session() as spark, _fresh_folders(scratch, once, _group_figures if by else _median_figures) as work:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            once(f"{folder}/out", warm_up)
        yield work


@contextlib.contextmanager
def frame_exact(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    with _frame(values, warm_up, heap, exact=True) as work:
        yield work


@contextlib.contextmanager
def frame_no_exact(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    with _frame(values, warm_up, heap, exact=False) as work:
        yield work


@contextlib.contextmanager
def _frame(values: str, warm_up: str, heap: int, *, exact: bool) -> Iterator[Work]:
    """Give the general entrance: the same rows as a DataFrame, in the session that Spark's own functions have."""
    from median_spark import gene_medians

    with notebook_session(heap) as spark:

        def work(folder: str = values) -> Found:
            medians = gene_medians(spark.read.parquet(folder), exact=exact)
            return figures(medians.toArrow().column("median").to_pylist())

        work(warm_up)
        yield work


@contextlib.contextmanager
def frame_counts(values: str, warm_up: str, heap: int) -> Iterator[Work]:
    """Give exact medians of a DataFrame of raw counts: every row is looked at, summed by cell, normalised."""
    from pyspark.sql.functions import expr

    from median_spark import gene_medians

    with notebook_session(heap) as spark:

        def work(folder: str = values) -> Found:
            entries = spark.read.parquet(folder).select("gene", "cell", "source", expr(COUNTS).alias("count"))
            medians = gene_medians(entries, value_col="count", cell_col="cell", source_col="source")
            return figures(medians.toArrow().column("median").to_pylist())

        work(warm_up)
        yield work


def bundles_logged(table: str, scratch: str, window_rows: int) -> contextlib.AbstractContextManager[Work]:
    """Give the same in several bundles."""
    return medians_logged(table, scratch, window_rows)


@contextlib.contextmanager
def medians_logged(table: str, scratch: str, window_rows: int = WINDOW_ROWS) -> Iterator[Work]:
    """Give `median_spark.medians` in a session of its own, whose event log tells what went over the network."""
    from median_spark import medians, spark_session

    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        events = Path(folder) / "events"
        events.mkdir()
        settings = {"enabled": "true", "dir": events.as_uri(), "compress": "false", "rolling.enabled": "false"}
        arguments = [f"--conf spark.eventLog.{key}={value}" for key, value in settings.items()]
        os.environ["PYSPARK_SUBMIT_ARGS"] = " ".join([*arguments, "pyspark-shell"])

        def work() -> Found:
            with spark_session() as spark:
                medians(table, f"{folder}/out", spark=spark, options=MedianOptions(window_rows=window_rows))
            return {**_moved(events), **_stored(Path(table) / "values")}

        yield work


@contextlib.contextmanager
def _fresh_folders(scratch: str, work: Callable[[str], object], describe: Callable[[Path], Found]) -> Iterator[Work]:
    """Give a function that works into a new folder every time; off the clock it is looked at and removed."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        out = Path(folder) / "out"

        def described() -> Found:
            found = describe(out)
            shutil.rmtree(out)
            return found

        def once() -> Callable[[], Found]:
            work(str(out))
            return described

        yield once


def _run(out: Path) -> Found:
    return {**_median_figures(out / "medians"), **_stored(out / "expression" / "values")}


def _median_figures(out: Path) -> Found:
    medians = pq.read_table(out / "medians.parquet", columns=["median"]).column(0).to_numpy()
    return figures(medians[medians == medians].tolist())  # NaN where a gene is undetected


def _group_figures(out: Path) -> Found:
    batches = pq.ParquetFile(out / "by_group.parquet").iter_batches(columns=["median"])
    return figures(median for batch in batches for median in batch.column(0).to_pylist())


def _stored(values: Path) -> dict[str, int]:
    parts = sorted(values.rglob("*.parquet"))
    return {
        "sources": len({part.parent for part in parts}),
        "rows": sum(pq.read_metadata(part).num_rows for part in parts),
        "bytes": sum(part.stat().st_size for part in parts),
    }


def _moved(events: Path) -> dict[str, int]:
    """Sum over all tasks in Spark's event logs what they wrote to be shuffled, and what they sent to the driver."""
    shuffled = to_driver = 0
    for log in events.iterdir():
        with log.open(encoding="utf-8") as lines:
            for event in map(json.loads, lines):
                if event["Event"] == "SparkListenerTaskEnd":
                    metrics = event.get("Task Metrics") or {}
                    shuffled += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
                    to_driver += metrics.get("Result Size", 0)
    return {"shuffled": shuffled, "to_driver": to_driver}
