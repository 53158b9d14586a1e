"""Values by group of cells, within a sweep: medians of groups that it sees whole, and values of others to be digested.

Where a table is one bundle, or all parts with cells of a group are in one, a sweep sees every value that the group has
of its genes; it writes their medians to a file. Values of other groups are digested like those of genes, each under a
key that is made of the gene and the group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.digests.build import sorted_medians
from median_spark.digests.moments import mean_and_sd
from median_spark.errors import EngineError
from median_spark.expression import CellGroups, GeneBlock, PartBlock, SweepPlan
from median_spark.gene_values import Floats, GeneValues, Ints, Names

GROUP_MEDIANS_SCHEMA = pa.schema(
    [
        pa.field("gene", pa.int32(), False),
        pa.field("group", pa.int32(), False),
        pa.field("n_cells", pa.int64(), False),
        pa.field("median", pa.float64(), False),
        pa.field("mean", pa.float64(), False),
        pa.field("sd", pa.float64()),
    ]
)
"""What is known of the genes that groups have values of, both by their numbers. A file has one stretch of rows or more,
each of genes that come after those of the one before; a stretch ascends by group and gene."""

_STRETCH_ROWS = 1 << 20
"""Rows, about, that a worker puts in order at once."""

_ROW_GROUP_ROWS = 1 << 16
"""Rows per row group of a file: few enough that a reader of some groups reads little else."""

_KEY = "\t"  # comes before all that ids have; Arrow ends texts of numpy at a NUL
_DIGITS = 9

_MOST_KEYS = 2_000_000
"""Genes times groups that are digested in one pass: about 5 GB of digests at most, much less if values are few."""

_Flags = npt.NDArray[np.bool_]
Int32s = npt.NDArray[np.int32]
_Runs = tuple[Floats, Ints]
"""Values and offsets: run i has ``values[offsets[i]:offsets[i + 1]]``."""


@dataclass(frozen=True)
class GroupWork:
    """What a sweep does about groups.

    Attributes
    ----------
    whole : numpy.ndarray
        Groups that one sweep sees whole, shape (groups,), bool: their medians are written.
    digested : numpy.ndarray
        Groups whose values are digested, shape (groups,), bool; others are passed over.
    folder : str
        Folder for the files of medians, one per sweep.
    corpus : bool
        True if the values of all groups together are digested, too.
    """

    whole: _Flags
    digested: _Flags
    folder: str
    corpus: bool = True

    def piece(self, sweep: int) -> str:
        """Return the file of a sweep."""
        return storage.join(self.folder, f"piece-{sweep:06d}.parquet")


def group_works(plan: SweepPlan, groups: int, folder: str) -> list[GroupWork]:
    """Return what the sweeps of a plan do about groups: one pass for all that they see whole, and several for others.

    The first pass digests the corpus, too. Groups that are digested are so few at once that the driver can hold the
    digests of all of their genes.
    """
    whole = _bundles_of_groups(plan, groups) <= 1
    others = np.flatnonzero(~whole)
    each = max(1, _MOST_KEYS // max(1, len(plan.genes)))
    works = []
    for begin in range(0, max(1, len(others)), each):
        digested = np.zeros(groups, dtype=np.bool_)
        digested[others[begin : begin + each]] = True
        works.append(GroupWork(whole if not begin else np.zeros_like(whole), digested, folder, corpus=not begin))
    return works


def _bundles_of_groups(plan: SweepPlan, groups: int) -> Ints:
    """Return how many bundles have cells of each group, shape (groups,)."""
    if plan.bundles <= 1:
        return np.ones(groups, dtype=np.int64)
    bundles = np.zeros(groups, dtype=np.int64)
    for first, last in pairwise(plan.parts_of_bundle.tolist()):
        present = np.zeros(groups, dtype=np.bool_)
        for part in range(first, last):
            held = plan.groups_of_cells(part)
            present[held.groups[held.groups >= 0] if isinstance(held, CellGroups) else held] = True
        bundles += present
    return bundles


class GroupsOfSweep:
    """The groups of one sweep, block by block."""

    def __init__(self, work: GroupWork, plan: SweepPlan) -> None:
        self._work, self._plan = work, plan
        self._counts = np.zeros(len(work.whole), dtype=np.int64)
        self._medians: list[pa.Table] = []

    def add(self, block: GeneBlock) -> GeneBlock | None:
        """Keep the medians of groups that are seen whole; return the values that are to be digested, if any."""
        values, genes, groups = self._by_group(block.gene_values)
        whole = self._work.whole[groups]
        if whole.any():
            places = np.searchsorted(self._plan.genes, block.gene_values.genes)[genes[whole]]
            self._medians.append(_medians_of(*_some(*values, whole), places, groups[whole]))
        keyed = self._keyed(block.gene_values.genes, values, genes, groups)
        return GeneBlock(keyed, pa.array([b""] * len(keyed.genes), pa.binary())) if keyed is not None else None

    def digested(self, block: PartBlock) -> GeneValues | None:
        """Return the values that were to be digested, if any, by key."""
        values = GeneValues(self._plan.genes[block.genes], block.offsets, block.values, None, block.groups)
        return self._keyed(values.genes, *self._by_group(values))

    def _keyed(self, names: Names, values: _Runs, genes: Int32s, groups: Int32s) -> GeneValues | None:
        digested = self._work.digested[groups]
        if not digested.any():
            return None
        pairs = zip(genes[digested].tolist(), groups[digested].tolist(), strict=True)
        keys = [key_of(str(names[gene]), group) for gene, group in pairs]
        own, offsets = _some(*values, digested)
        return GeneValues(np.array(keys, dtype=np.str_), offsets, own)

    def _by_group(self, values: GeneValues) -> tuple[_Runs, Int32s, Int32s]:
        """Return the sorted values of each gene and group as runs, and the gene and the group of each run."""
        from median_spark.digests.loops import by_group, few_values  # numba takes half a second: only who groups waits

        if values.groups is None:
            message = "values must have groups"
            raise ValueError(message)
        most = min(len(values.values), len(values.genes) * len(self._counts))
        grouped, ends = np.empty_like(values.values), np.empty(most, dtype=np.int64)
        genes, groups = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
        runs = by_group(values.offsets, values.values, values.groups, self._counts, grouped, genes, groups, ends)
        offsets = np.append(0, ends[:runs])
        for run in np.flatnonzero(np.diff(offsets) > few_values()).tolist():
            grouped[offsets[run] : offsets[run + 1]].sort()
        return (grouped, offsets), genes[:runs], groups[:runs]

    def write(self, sweep: int) -> None:
        """Write the medians as one file that appears whole, if there are groups that are seen whole."""
        if self._work.whole.any():
            write_group_medians(self._work.piece(sweep), self._medians)


def _some(values: Floats, offsets: Ints, chosen: _Flags) -> _Runs:
    """Return some runs only."""
    if chosen.all():
        return values, offsets
    lengths = np.diff(offsets)
    return values[np.repeat(chosen, lengths)], np.append(0, np.cumsum(lengths[chosen]))


def _medians_of(values: Floats, offsets: Ints, genes: Ints, groups: Int32s) -> pa.Table:
    n_cells = np.diff(offsets)
    return group_medians(genes, groups, n_cells, sorted_medians(values, offsets), *mean_and_sd(values, offsets))


def group_medians(genes: Ints, groups: Int32s, n_cells: Ints, medians: Floats, mean: Floats, sd: Floats) -> pa.Table:
    """Return a table of `GROUP_MEDIANS_SCHEMA`; a NaN in `sd` becomes a null."""
    columns = [genes.astype(np.int32), groups.astype(np.int32), n_cells, medians, mean]
    return pa.table([*map(pa.array, columns), pa.array(sd, from_pandas=True)], schema=GROUP_MEDIANS_SCHEMA)


def in_order_of_groups(medians: pa.Table) -> pa.Table:
    """Return rows of `GROUP_MEDIANS_SCHEMA`, whose genes ascend within each group, by group and gene."""
    groups = medians["group"].to_numpy().astype(np.uint32)
    order = np.argsort((groups & 0xFFFF).astype(np.uint16), kind="stable")  # by radix, for 16 bits
    if len(groups) and groups.max() > 0xFFFF:
        order = order[np.argsort((groups >> 16).astype(np.uint16)[order], kind="stable")]
    places = pa.array(order)
    # Column by column, so that only one of them is there a third time, in one chunk.
    return pa.table([column.combine_chunks().take(places) for column in medians.columns], schema=medians.schema)


def write_group_medians(location: str, tables: Sequence[pa.Table]) -> None:
    """Write tables of `GROUP_MEDIANS_SCHEMA`, with genes that ascend within a group, as one file that appears whole."""
    with (
        storage.atomic_write(location) as sink,
        pq.ParquetWriter(
            sink, GROUP_MEDIANS_SCHEMA, compression="lz4", use_dictionary=["group"], write_statistics=["group"]
        ) as writer,
    ):
        for stretch in _stretches(tables):
            writer.write_table(in_order_of_groups(stretch), row_group_size=_ROW_GROUP_ROWS)


def _stretches(tables: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """Bring consecutive tables together into larger ones of about `_STRETCH_ROWS` rows."""
    together: list[pa.Table] = []
    for table in tables:
        together.append(table)
        if sum(map(len, together)) >= _STRETCH_ROWS:
            yield pa.concat_tables(together)
            together = []
    if together:
        yield pa.concat_tables(together)


def read_group_medians(location: str, columns: Sequence[str] = (), groups: tuple[int, int] | None = None) -> pa.Table:
    """Read back a file, or some of its columns, or its rows of groups from a first one up to before a last one.

    Raises `EngineError` if the file is missing.
    """
    filesystem, path = storage.resolve(location)

    def read() -> pa.Table:
        with filesystem.open_input_file(path) as stream:
            return storage.read_parquet(stream, columns or None) if groups is None else _rows_of_groups(stream, *groups)

    try:
        return storage.with_retries(location, read)
    except FileNotFoundError as error:
        message = (
            f"{location}: a worker wrote this file, which is not visible to the driver: where workers are on other "
            "machines, the result must go to storage that all of them share"
        )
        raise EngineError(message) from error


def _rows_of_groups(stream: pa.NativeFile, first: int, last: int) -> pa.Table:
    """Read the rows of the groups ``first <= group < last`` from a file of `GROUP_MEDIANS_SCHEMA`."""
    file = pq.ParquetFile(stream, pre_buffer=False)
    place = file.schema_arrow.get_field_index("group")
    ranges = [file.metadata.row_group(number).column(place).statistics for number in range(file.num_row_groups)]
    wanted = [number for number, seen in enumerate(ranges) if seen and seen.max >= first and seen.min < last]
    rows = file.read_row_groups(wanted, use_threads=False)
    groups = rows["group"].to_numpy()
    return rows.filter(pa.array((groups >= first) & (groups < last)))


def key_of(gene: str, group: int) -> str:
    """Return the key that stands for a gene of a group where genes are digested; keys ascend as genes and groups do."""
    return f"{gene}{_KEY}{group:0{_DIGITS}d}"


def gene_and_group(key: str) -> tuple[str, int | None]:
    """Return the gene and the group of a key; a gene by itself has no group."""
    gene, mark, group = key.rpartition(_KEY)
    return (gene, int(group)) if mark and len(group) == _DIGITS and group.isdigit() else (key, None)
