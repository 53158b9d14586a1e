"""The exact medians and digests of each source by itself: cutting sources into sweeps, working on some, their files.

The digests go to files as the published procedure keeps them, one per source. Knows nothing of Spark.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.digests.build import Digest, digest_values, sort_values, sorted_medians
from median_spark.digests.crick import PickledAsCrick, check_digests
from median_spark.errors import EngineError, OutputError, TableError, UsageError, listed
from median_spark.expression import ExpressionTable, SweepPlan, plan_source, sweep
from median_spark.gene_values import Floats, Ints
from median_spark.options import DIGEST_PICKLES, OVERWRITE

SOURCE_MEDIANS_SCHEMA = pa.schema(
    [
        pa.field("source", pa.int32(), False),
        pa.field("gene", pa.int32(), False),
        pa.field("n_cells", pa.int64(), False),
        pa.field("median", pa.float64(), False),
    ]
)
"""The medians of detected genes of sources, both by their numbers in the plan, ascending; one row group per sweep."""

TASK_ROWS = 16_000_000
"""Values per task: a larger source is cut into several sweeps, smaller ones share a task."""

_LEAST_TASKS = 16
_LEAST_TASK_ROWS = 2_000_000
"""A small table is still cut into 16 tasks, unless they would be smaller than this."""

_MOST_SWEEPS = 64
"""Most sweeps per task: it keeps one row for each of their genes until it has done all."""


PICKLE_ENDING = ".gene_median_digest_dict.pickle"
"""End of the name of the published procedure's file of one source."""

_PICKLE_PROTOCOL = 4  # read by every Python that the published procedure runs on


@dataclass(frozen=True)
class SourceSweep:
    """Sweep `number` of the `sweeps` that one source, given by its number in the plan, is cut into."""

    source: int
    number: int
    sweeps: int


def cut_sources(
    rows: Sequence[int], *, whole: bool = False, alone: Set[int] = frozenset(), task_rows: int | None = None
) -> list[tuple[SourceSweep, ...]]:
    """Cut sources into sweeps, and group those into tasks of about equally many values; return the tasks.

    `rows` has the values of each source. With `whole`, each source is one sweep, as its file of digests requires;
    sources in `alone` are one sweep and a task of their own. `task_rows` is `TASK_ROWS` by default, or fewer if there
    are few values, and never depends on the cluster's size. Sweeps come in order, and sources without values have one.
    """
    if task_rows is None:
        task_rows = min(TASK_ROWS, max(_LEAST_TASK_ROWS, -(-sum(rows) // _LEAST_TASKS)))
    tasks: list[list[SourceSweep]] = []
    held = 0
    for source, values in enumerate(rows):
        sweeps = 1 if whole or source in alone else max(1, -(-values // task_rows))
        for number in range(sweeps):
            full = held + values // sweeps > task_rows
            if not tasks or full or len(tasks[-1]) == _MOST_SWEEPS or {source, tasks[-1][-1].source} & alone:
                tasks.append([])
                held = 0
            tasks[-1].append(SourceSweep(source, number, sweeps))
            held += values // sweeps
    return [tuple(task) for task in tasks]


@dataclass(frozen=True)
class DigestFiles:
    """Each source's file for its digests, and the `gene_list` of its record, whose genes the table has."""

    table: ExpressionTable
    gene_lists: tuple[str, ...]
    locations: tuple[str, ...]
    compression: float

    def write(self, source: int, digests: Mapping[str, Digest]) -> None:
        """Write the file of a source, by its number: a crick digest per gene, an empty one for genes without values."""
        check_digests(list(digests.values()), self.compression)
        none = np.zeros(0, dtype=np.float64)
        empty = Digest(0, np.inf, -np.inf, none, none)
        genes = self.table.genes_of(self.gene_lists[source])
        # Each gene has an object of its own, because merging changes it.
        content = {gene: PickledAsCrick(digests.get(gene, empty), self.compression) for gene in genes}
        storage.write_bytes(self.locations[source], pickle.dumps(content, protocol=_PICKLE_PROTOCOL))


def sweep_sources(
    plan: SweepPlan, sweeps: Sequence[SourceSweep], location: str | None, files: DigestFiles | None
) -> int:
    """Read some sweeps of sources, write their genes' medians and digests, and return the number of values read.

    The medians go to one Parquet file at `location`, if given; the digests go to `files`, if given, and then each sweep
    is a whole source. Raises `TableError` if a part cannot be read, and `OutputError` if a file cannot be written.
    """
    tables: list[pa.Table] = []
    for each in sweeps:
        own = plan_source(plan, each.source, each.sweeps)
        medians: list[pa.Table] = []
        digests: dict[str, Digest] = {}
        # A source with few genes may have fewer sweeps than were asked for.
        for block in sweep(own, each.number) if each.number < own.sweeps else ():
            values = block.gene_values
            sort_values(values)
            places = np.searchsorted(plan.genes, values.genes)
            medians.append(source_medians(each.source, places, values.lengths, sorted_medians(values)))
            if files is not None:
                digests.update(zip(values.genes.tolist(), digest_values(values, files.compression), strict=True))
        if files is not None:
            files.write(each.source, digests)
        if medians:
            tables.append(pa.concat_tables(medians))
    if location is not None:
        write_source_medians(location, tables)
    return sum(int(np.sum(table["n_cells"].to_numpy())) for table in tables)


def source_medians(source: int, places: Ints, n_cells: Ints, medians: Floats) -> pa.Table:
    """Return a table of `SOURCE_MEDIANS_SCHEMA` for one source and its detected genes, given by their places."""
    columns = [np.full(len(places), source, dtype=np.int32), places.astype(np.int32), n_cells, medians]
    return pa.table([pa.array(column) for column in columns], schema=SOURCE_MEDIANS_SCHEMA)


def write_source_medians(location: str, tables: Sequence[pa.Table]) -> None:
    """Write tables of `SOURCE_MEDIANS_SCHEMA` as one file that appears whole, with one row group per table."""
    with storage.atomic_write(location) as sink, pq.ParquetWriter(sink, SOURCE_MEDIANS_SCHEMA) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))


def read_source_medians(locations: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Read back the files of all tasks, in order; yield each source's number and medians, one source at a time.

    Sources without a value are left out. Raises `EngineError` if a file is missing, and `TableError` if genes of a
    source do not ascend from one of its sweeps to the next.
    """
    for source, tables in groupby(_row_groups(locations), key=lambda table: table["source"][0].as_py()):
        table = pa.concat_tables(tables).combine_chunks()
        genes = table["gene"].to_numpy()
        if np.any(genes[1:] <= genes[:-1]):
            message = "a gene of a source came up twice: its sweeps overlap"
            raise TableError(message)
        yield source, table


def _row_groups(locations: Sequence[str]) -> Iterator[pa.Table]:
    for location in locations:
        filesystem, path = storage.resolve(location)
        try:
            stream = storage.with_retries(location, partial(filesystem.open_input_file, path))
        except FileNotFoundError as error:
            message = (
                f"{location}: a worker wrote this file, and it is not to be seen from here: where workers are on other "
                "machines, the result must go to storage that all of them share"
            )
            raise EngineError(message) from error
        with stream, pq.ParquetFile(stream) as file:
            for number in range(file.num_row_groups):
                yield storage.with_retries(location, partial(file.read_row_group, number, use_threads=False))


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
