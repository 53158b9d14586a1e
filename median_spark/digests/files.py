"""The digests of each source by itself, in files as the published procedure keeps them. Knows nothing of Spark."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from median_spark import storage
from median_spark.digests.build import Digest, digest_values, sort_values
from median_spark.digests.crick import PickledAsCrick, pickled_as_cricks
from median_spark.errors import OutputError, UsageError, listed
from median_spark.expression import ExpressionTable, SweepPlan, plan_source, sweep
from median_spark.options import DIGEST_PICKLES, OVERWRITE

TASK_ROWS = 16_000_000
"""Values per task: a larger source has one of its own, smaller ones share one."""

_LEAST_TASKS = 16
_LEAST_TASK_ROWS = 2_000_000
"""A small table is still cut into 16 tasks, unless they would be smaller than this."""

_MOST_SOURCES = 64
"""Most sources per task, so that a task that fails has little to do again."""

PICKLE_ENDING = ".gene_median_digest_dict.pickle"
"""End of the name of the published procedure's file of one source."""

_PICKLE_PROTOCOL = 4  # read by every Python that the published procedure runs on


def tasks_of_sources(rows: Sequence[int]) -> list[list[int]]:
    """Deal sources, given by their numbers of values, to tasks of about equally many values; never by the cluster."""
    task_rows = min(TASK_ROWS, max(_LEAST_TASK_ROWS, -(-sum(rows) // _LEAST_TASKS)))
    tasks: list[list[int]] = []
    held = 0
    for source, values in enumerate(rows):
        if not tasks or held + values > task_rows or len(tasks[-1]) == _MOST_SOURCES:
            tasks.append([])
            held = 0
        tasks[-1].append(source)
        held += values
    return tasks


@dataclass(frozen=True)
class DigestFiles:
    """Each source's file for its digests, and the `gene_list` of its record, whose genes the table has."""

    table: ExpressionTable
    gene_lists: tuple[str, ...]
    locations: tuple[str, ...]
    compression: float

    def write(self, source: int, digests: Mapping[str, Digest]) -> None:
        """Write the file of a source, by its number: a crick digest per gene, an empty one for genes without values."""
        pickled = pickled_as_cricks(digests, self.compression)
        genes = self.table.genes_of(self.gene_lists[source])
        # Each gene has an object of its own, because merging changes it.
        content = {gene: pickled.get(gene) or PickledAsCrick(self.compression, None) for gene in genes}
        storage.write_bytes(self.locations[source], pickle.dumps(content, protocol=_PICKLE_PROTOCOL))


def digest_sources(plan: SweepPlan, sources: Sequence[int], files: DigestFiles) -> int:
    """Digest some sources, each by itself, write their files, and return the number of values read.

    Raises `TableError` if a part cannot be read, and `OutputError` if a file cannot be written.
    """
    read = 0
    for source in sources:
        own = plan_source(plan, source)
        digests: dict[str, Digest] = {}
        for block in sweep(own, 0) if own.sweeps else ():
            values = block.gene_values
            sort_values(values)
            digests.update(zip(values.genes.tolist(), digest_values(values, files.compression), strict=True))
            read += len(values.values)
        files.write(source, digests)
    return read


def check_digest_folder(folder: str, sources: Sequence[str], result: str, *, overwrite: bool) -> str:
    """Refuse a folder that cannot take the digest pickles of some sources; return its canonical location.

    Writes nothing. Raises `UsageError` if the folder lies within the result, whose canonical location is `result`;
    `OutputError` if it is a file, has pickles of other sources, or has some that may not be replaced.
    """
    folder = storage.canonical(folder)
    if (folder + "/").startswith(result + "/"):
        message = (
            f"{folder}: {DIGEST_PICKLES:name} needs a folder outside {result}, which is replaced whole by a later run"
        )
        raise UsageError(message)
    if storage.kind(folder) == "file":
        message = f"{folder}: this is a file; {DIGEST_PICKLES:name} needs a folder"
        raise OutputError(message)
    names = [file.path[len(folder) + 1 :] for file in storage.files_below(folder)]
    pickled = [name.removesuffix(PICKLE_ENDING) for name in names if name.endswith(PICKLE_ENDING)]
    foreign = sorted(set(pickled) - set(sources))
    if foreign:
        message = (
            f"{folder}: this folder holds digest pickles of sources that do not belong to this run "
            f"({listed(foreign, 3)}), and whoever merges it would count them: choose an empty or new one"
        )
        raise OutputError(message)
    if pickled and not overwrite:
        message = (
            f"{folder}: this folder holds digest pickles already: replace them with {OVERWRITE}, or choose another one"
        )
        raise OutputError(message)
    return folder
