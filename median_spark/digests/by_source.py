"""The medians of each source by itself: cutting sources into shares, working on some, reading back what came out.

All values of a share's genes come together in one sweep, so that its medians are exact. Knows nothing of Spark.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.digests.build import Digest, digest_values, sort_values, sorted_medians
from median_spark.digests.source_files import DigestFiles
from median_spark.errors import EngineError, TableError
from median_spark.expression import SweepPlan, plan_source, sweep

PIECE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.int32(), False),
        pa.field("gene", pa.int32(), False),
        pa.field("n_cells", pa.int64(), False),
        pa.field("median", pa.float64(), False),
    ]
)
"""Of what a task writes: sources and genes by their numbers in the plan, ascending; one row group a share."""

TASK_ROWS = 16_000_000
"""Values that a task works on: larger sources are cut into shares of so many, smaller ones come together in a task."""

_LEAST_TASKS = 16
_LEAST_TASK_ROWS = 2_000_000
"""A small table is cut into so many tasks nonetheless, unless they are smaller than this."""

_MOST_SHARES = 64
"""Sources that a task works on at most: it keeps one row for each of their genes until it has done all."""


@dataclass(frozen=True)
class Share:
    """Some consecutive genes of one source, or all of them.

    Attributes
    ----------
    source : int
        The source's number in the plan.
    number, shares : int
        Which of how many shares of it.
    """

    source: int
    number: int
    shares: int


def cut_shares(
    rows: Sequence[int], *, whole: bool = False, alone: Set[int] = frozenset(), task_rows: int | None = None
) -> list[tuple[Share, ...]]:
    """Cut sources into shares, and group those into tasks of about equally many values.

    Parameters
    ----------
    rows : sequence of int
        Values of each source.
    whole : bool
        Whether a source is one share however large it is, as its file of digests demands.
    alone : set of int
        Sources that are one share and a task of their own.
    task_rows : int, optional
        By default `TASK_ROWS`, or fewer where there are few values; never by the cluster's size.

    Returns
    -------
    list of tuple of Share
        Tasks, in the order of sources and shares; those without a value are in one, too.
    """
    if task_rows is None:
        task_rows = min(TASK_ROWS, max(_LEAST_TASK_ROWS, -(-sum(rows) // _LEAST_TASKS)))
    tasks: list[tuple[Share, ...]] = []
    gathered: list[Share] = []
    held = 0
    for source, values in enumerate(rows):
        shares = 1 if whole or source in alone else max(1, -(-values // task_rows))
        for number in range(shares):
            share_rows = values // shares
            full = held + share_rows > task_rows or len(gathered) == _MOST_SHARES
            if gathered and (full or source in alone or gathered[-1].source in alone):
                tasks.append(tuple(gathered))
                gathered, held = [], 0
            gathered.append(Share(source, number, shares))
            held += share_rows
    return [*tasks, tuple(gathered)] if gathered else tasks


def work_on(plan: SweepPlan, shares: Sequence[Share], piece: str | None, files: DigestFiles | None) -> int:
    """Read some shares, and write what their genes' medians and digests are.

    Parameters
    ----------
    plan : SweepPlan
        Of all sources.
    shares : sequence of Share
        In the order of sources and shares.
    piece : str, optional
        Where the medians go, in Parquet of `PIECE_SCHEMA`.
    files : DigestFiles, optional
        Where the digests go; then each share is a whole source.

    Returns
    -------
    int
        Values read.

    Raises
    ------
    TableError
        If a part is missing, damaged, or not what its record says.
    OutputError
        If a file cannot be written.
    """
    tables: list[pa.Table] = []
    values = 0
    for share in shares:
        found, digests = _read_share(plan, share, files.compression if files else None)
        values += int(np.sum(found["n_cells"].to_numpy()))
        if files is not None:
            files.write(share.source, digests)
        if piece is not None and len(found):
            tables.append(found)
    if piece is not None:
        write_piece(piece, tables)
    return values


def _read_share(plan: SweepPlan, share: Share, compression: float | None) -> tuple[pa.Table, dict[str, Digest]]:
    """Return the medians of a share's genes, of `PIECE_SCHEMA`, and their digests if a compression is given."""
    own = plan_source(plan, share.source, share.shares)
    found: list[pa.Table] = []
    digests: dict[str, Digest] = {}
    # Of a source with few genes there may be fewer sweeps than shares were asked for.
    for block in sweep(own, share.number) if share.number < own.sweeps else ():
        runs = block.runs
        sort_values(runs)
        places = np.searchsorted(plan.genes, runs.genes)
        found.append(piece_table(share.source, places, runs.lengths, sorted_medians(runs)))
        if compression is not None:
            digests.update(zip(runs.genes.tolist(), digest_values(runs, compression), strict=True))
    return pa.concat_tables(found) if found else PIECE_SCHEMA.empty_table(), digests


def piece_table(
    source: int, places: npt.NDArray[np.int64], n_cells: npt.NDArray[np.int64], medians: npt.NDArray[np.float64]
) -> pa.Table:
    """Return a table of `PIECE_SCHEMA`.

    Parameters
    ----------
    source : int
        Its number.
    places, n_cells : ndarray of int64, shape (genes,)
        Each detected gene's number, ascending, and the cells that have a value of it.
    medians : ndarray of float64, shape (genes,)
        Of these values.
    """
    columns = [np.full(len(places), source, dtype=np.int32), places.astype(np.int32), n_cells, medians]
    return pa.table([pa.array(column) for column in columns], schema=PIECE_SCHEMA)


def write_piece(location: str, tables: Sequence[pa.Table]) -> None:
    """Write tables of `PIECE_SCHEMA` as one file that appears whole, a row group each."""
    with storage.atomic_write(location) as sink, pq.ParquetWriter(sink, PIECE_SCHEMA) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))


def read_pieces(locations: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Read back what tasks wrote, one source after the other, never more than one of them.

    Parameters
    ----------
    locations : sequence of str
        In the order of sources and shares.

    Yields
    ------
    int, pyarrow.Table
        A source's number, and its detected genes, of `PIECE_SCHEMA`; sources without a value are passed over.

    Raises
    ------
    EngineError
        If a file is not there.
    TableError
        If genes of a source do not ascend from one of its shares to the next.
    """
    gathered: list[pa.Table] = []
    for table in _row_groups(locations):
        if gathered and table["source"][0] != gathered[0]["source"][0]:
            yield _joined(gathered)
            gathered = []
        gathered.append(table)
    if gathered:
        yield _joined(gathered)


def _joined(tables: list[pa.Table]) -> tuple[int, pa.Table]:
    table = pa.concat_tables(tables).combine_chunks()
    genes = table["gene"].to_numpy()
    if np.any(genes[1:] <= genes[:-1]):
        message = "a gene of a source came up twice: its shares overlap"
        raise TableError(message)
    return table["source"][0].as_py(), table


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
        with stream, pq.ParquetFile(stream) as piece:
            for number in range(piece.num_row_groups):
                yield storage.with_retries(location, partial(piece.read_row_group, number, use_threads=False))
