"""Where the seconds of a worker go, step by step on one core: a loom on its way into the table, a sweep over one."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from work import Found, Work


@contextlib.contextmanager
def loom(loom: str, scratch: str) -> Iterator[Work]:
    """Give converting one loom as one unit, in the steps of a worker."""
    from median_spark.expression.staging import write_unit
    from median_spark.matrices import ReadOptions, Unit, open_matrix, outline, read_unit, select_rows
    from median_spark.storage import sync_files

    options = ReadOptions()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:

        def work() -> Found:
            clock = _Clock()
            with open_matrix(loom, options.names) as matrix:
                outline(matrix, options)
            clock.lap("looking at it: genes, cells, a sample of counts")
            with open_matrix(loom, options.names) as matrix:
                runs, cells = read_unit(matrix, select_rows(matrix, options), Unit(0, 0, matrix.shape[1]), options)
            clock.lap("reading its counts into normalised runs")
            targets = (str(Path(folder, "part.parquet")), str(Path(folder, "cells.parquet")))
            write_unit(targets, runs, cells)
            sync_files(targets)
            clock.lap("writing them as Parquet, synced to the disk")
            return {"steps": clock.steps, "values": len(runs.values)}

        yield work


@contextlib.contextmanager
def sweep(table: str) -> Iterator[Work]:
    """Give the first sweep over a table, in the steps of a worker."""
    from median_spark.digests import DEFAULT_COMPRESSION, digest_sweep, digest_values, sort_values
    from median_spark.expression import open_table, plan_sweeps
    from median_spark.expression import sweep as blocks_of

    opened = open_table(table)
    records = opened.sources()
    plan = plan_sweeps(opened.values, records, opened.universe(records))

    def work() -> Found:
        clock, values = _Clock(), 0
        for block in blocks_of(plan, 0):
            clock.lap("reading row groups, bringing the values of each gene together")
            sort_values(block.gene_values)
            clock.lap("sorting each gene's values")
            digest_values(block.gene_values, DEFAULT_COMPRESSION)
            clock.lap("clustering them")
            values += len(block.gene_values.values)
        begin = time.perf_counter()
        for _ in digest_sweep(plan, 0, DEFAULT_COMPRESSION, exact=True):
            pass
        rest = time.perf_counter() - begin - sum(clock.steps.values())
        clock.steps["exact medians, rank errors, packing"] = max(rest, 0.0)
        return {"steps": clock.steps, "values": values}

    yield work


class _Clock:
    """Adds up what steps take."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.steps[step] = self.steps.get(step, 0.0) + now - self._last
        self._last = now
