"""Options of the main jobs: how they work and what they write; `ReadOptions` has those that decide the values."""

import re
from dataclasses import dataclass, field
from typing import Any

from median_spark.digests import DEFAULT_COMPRESSION, check_compression
from median_spark.errors import UsageError, listed
from median_spark.expression import WINDOW_ROWS
from median_spark.geneformer import GeneformerOptions, check_group_columns
from median_spark.genes import GeneMap, GeneTable
from median_spark.guard import DEFAULT_LIMITS, Limits
from median_spark.matrices import ALL_COLUMNS, UNIT_ENTRIES, CellColumns, CellQuery, check_cell_columns
from median_spark.options import BY, TABLE
from median_spark.results import BY_GROUP_SCHEMA, GROUPS_SCHEMA
from median_spark.sizes import items_of

_BYTES_PER_VALUE = 8
_BYTES_PER_ENTRY = 40

_TABLE_PART = re.compile(r"[\w -]+")
"""What a catalog, a schema or a table may be called."""


@dataclass(frozen=True)
class ConvertOptions:
    """How a conversion works; none of it changes a value.

    Attributes
    ----------
    on_error : {"fail", "skip"}
        ``"fail"`` ends the conversion at a source that cannot be converted; ``"skip"`` reports it and finishes the
        others.
    overwrite : bool
        Reconvert up-to-date sources.
    unit_entries : int or str
        Most nonzero counts that a task reads at once, as a number, or as the memory they need (40 bytes each) such as
        ``"512MB"``.
    limits : Limits
        Processor time, waiting time and memory that reading a source may use before that source fails.
    cell_columns : str or sequence of str
        Attributes of cells to keep in ``EXPRESSION/cells``: ``"all"``, of which the first 256 by name are kept;
        ``"none"``; or their names, of which a source may lack some. Another choice has sources converted again.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.ConvertOptions(on_error="skip", unit_entries="200MB").entries_per_unit
    5000000
    """

    on_error: str = "fail"
    overwrite: bool = False
    unit_entries: int | str = UNIT_ENTRIES
    limits: Limits = DEFAULT_LIMITS
    cell_columns: CellColumns = ALL_COLUMNS

    def __post_init__(self) -> None:
        object.__setattr__(self, "cell_columns", check_cell_columns(self.cell_columns))
        if self.on_error not in {"fail", "skip"}:
            message = f"on_error must be 'fail' or 'skip', not {self.on_error!r}"
            raise UsageError(message)
        _ = self.entries_per_unit

    @property
    def entries_per_unit(self) -> int:
        """`unit_entries` as a number."""
        return items_of(self.unit_entries, _BYTES_PER_ENTRY, "unit_entries")

    def as_parameters(self) -> dict[str, Any]:
        """Return what decides, beside `ReadOptions`, whether a source is up to date: the cell columns, if chosen.

        The default is left out, so that sources that an older version converted stay up to date.
        """
        return {} if self.cell_columns == ALL_COLUMNS else {"cell_columns": self.cell_columns}


@dataclass(frozen=True)
class MedianOptions:
    """How medians are computed.

    Attributes
    ----------
    compression : float
        Compression of the digests, 20 to 1000: twice as much halves their error and doubles their size.
    exact : bool
        Refine the digests' medians to exact ones, `numpy.median` of all values bit for bit.
    cells : CellQuery or None
        The cells to take, by what the expression table knows of each; by default all.
    stability : bool
        Also estimate how far each median moves with the sources: is the corpus large enough?
    window_rows : int or str
        Values that a worker holds at once, as a number, or as the memory they need (8 bytes each, beside as much again
        while it works on them) such as ``"384MB"``. Exact medians do not depend on it; digests do where a corpus is too
        large for one window, because each is then merged from several.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.MedianOptions(window_rows="96MB").values_per_window
    12000000
    """

    compression: float = DEFAULT_COMPRESSION
    exact: bool = True
    window_rows: int | str = WINDOW_ROWS
    cells: CellQuery | None = None
    stability: bool = False

    def __post_init__(self) -> None:
        check_compression(self.compression)
        _ = self.values_per_window

    @property
    def values_per_window(self) -> int:
        """`window_rows` as a number."""
        return items_of(self.window_rows, _BYTES_PER_VALUE, "window_rows")


@dataclass(frozen=True)
class ResultOptions:
    """What a result folder holds besides the medians.

    Attributes
    ----------
    geneformer : GeneformerOptions
        Choices about the dictionaries that a tokenizer loads.
    gene_table : GeneTable or None
        Names of the genes, for these dictionaries and the report; the expression table says which genes there are.
    gene_map : GeneMap or None
        The gene map that the matrices were converted with, for these dictionaries.
    by : tuple of str
        Attributes of cells, or ``"source"``, whose values make groups: also write each group's medians, and compare
        them with the corpus's.
    missing : {"group", "fail"}
        ``"group"`` makes a group of cells without a value of one of these; ``"fail"`` makes them an error.
    digest_pickles : str or None
        Path or URI of a folder outside the result for each source's digests, in the published procedure's files.
    table : str or None
        Table of a catalog that also gets the medians, ``"catalog.schema.name"``, or ``"schema.name"`` in the current
        catalog. It is created, or replaced if median_spark has written it; dots part names, and are part of none.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.ResultOptions(by=("assay", "sex")).by
    ('assay', 'sex')
    """

    geneformer: GeneformerOptions = field(default_factory=GeneformerOptions)
    gene_table: GeneTable | None = None
    gene_map: GeneMap | None = None
    by: tuple[str, ...] = ()
    missing: str = "group"
    digest_pickles: str | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        names: object = self.by  # a text would be a sequence of letters
        if isinstance(names, str) or len(set(self.by)) < len(self.by) or not all(self.by):
            message = f"{BY:name} must have attributes of cells, each once, not {self.by!r}"
            raise UsageError(message)
        reserved = sorted({*self.by} & {*GROUPS_SCHEMA.names, *BY_GROUP_SCHEMA.names})
        if reserved:
            message = f"{BY:name} cannot take {listed(reserved)}, which is a column of the tables of groups"
            raise UsageError(message)
        parts = [] if self.table is None else self.table.split(".")
        if self.table is not None and (len(parts) < 2 or not all(_TABLE_PART.fullmatch(part) for part in parts)):
            message = f"{TABLE:name} must be catalog.schema.name or schema.name, not {self.table!r}"
            raise UsageError(message)
        if self.missing not in {"group", "fail"}:
            message = f"missing must be 'group' or 'fail', not {self.missing!r}"
            raise UsageError(message)
        if self.geneformer.dictionary_of is not None:
            check_group_columns(self.geneformer.dictionary_of, self.by)
