"""Group by group on Spark: how each group's medians compare with the corpus's, and which groups stand apart.

Workers write the medians of groups to storage, because they may be too large for the driver, which reads them back some
groups at a time.
"""

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from median_spark import storage
from median_spark.expression import Grouping
from median_spark.results import (
    GroupComparison,
    Stopwatch,
    assemble_by_group,
    change_of,
    groups_table,
    name_of,
    stand_apart,
)
from median_spark.spark.medians.corpus import CorpusJob, CorpusMedians

MOST_LEFT_OUT = 5
"""Of the groups that stand apart, so many are left out in turn, the farthest first: each is another pass."""


@contextlib.contextmanager
def staged(target: str) -> Iterator[tuple[str, Path]]:
    """Make a folder that workers and driver see, and a local one, both gone when the block ends, however it ends.

    They lie beside `target`, the canonical location of a result, where they can.
    """
    with contextlib.ExitStack() as stack:
        if storage.is_local(target):
            shared = storage.new_folder_for(target)
            local = Path(shared)
        else:
            parent, _, name = target.rpartition("/")
            # A bucket's root has no neighbour.
            beside = target if parent.endswith("/") else parent
            shared = storage.join(beside, f".{name}.{uuid.uuid4().hex[:12]}.unfinished")
            local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="median-spark-")))
        stack.callback(storage.remove, shared)
        yield shared, local


def compared_groups(
    job: CorpusJob, cells: Grouping, corpus: CorpusMedians, local: Path, watch: Stopwatch
) -> GroupComparison:
    """Compare the groups of cells with the corpus, whose `pieces` have their medians; files go to a local folder.

    Raises
    ------
    TableError
        If a part cannot be read, or the table changes under way.
    EngineError
        If a Spark job fails, or what workers write is not visible to the driver.
    """
    by_group = local / "by_group.parquet"
    with job.progress.working("comparing the groups"):
        ratios = assemble_by_group(corpus.pieces, cells, corpus.table, by_group)
    verdict = stand_apart(ratios)
    changes = {}
    for number in verdict.most_apart(MOST_LEFT_OUT):
        job.progress.note(f"'{name_of(cells.groups[number])}' stands apart: computing the medians without it")
        others = np.arange(len(cells.groups)) != number
        changes[number] = change_of(corpus.table, job.medians_of(cells.only(others)).table)
    watch.lap("groups", tasks=len(corpus.pieces))
    return GroupComparison(groups_table(cells, ratios, verdict, changes), by_group)
