"""What is kept of each cell: its id, its total, how many genes it has, and the attributes of the matrix, as Arrow.

Of attributes the ones that have a single text, number or truth value for each cell are kept.
"""

from dataclasses import dataclass

import pyarrow as pa

from median_spark.errors import InputError, UsageError, counted, listed
from median_spark.guard import beat
from median_spark.matrices.chosen_cells import COMPUTED
from median_spark.matrices.contract import CountMatrix, Flags, Floats, Int32s, Texts, brief
from median_spark.matrices.tables import OTHER_TYPE
from median_spark.options import CELL_COLUMNS
from median_spark.storage import is_text

ALL_COLUMNS, NO_COLUMNS = "all", "none"

MOST_COLUMNS = 256
"""Attributes of a matrix that are kept at most if all are wanted."""

CELL_SCHEMA = pa.schema(
    [
        pa.field("cell", pa.string(), nullable=False),
        pa.field("n_counts", pa.float64()),
        pa.field("n_genes", pa.int32()),
        pa.field("n_values", pa.int32(), nullable=False),
    ]
)
"""The columns that every table of cells begins with; ``n_values`` is the number of the table's values of the cell."""

_TAKEN = ("cell", "n_values", "source")
"""Names that no attribute can have in a table of cells; ``source`` is the column that comes from the folder's name."""

_SHOWN, _COMPARED = 6, 16

CellColumns = str | tuple[str, ...]
"""The attributes that are wanted: `ALL_COLUMNS`, `NO_COLUMNS`, or their names."""


def check_cell_columns(wanted: object) -> CellColumns:
    """Return a choice of attributes, a sequence of names as a tuple; UsageError if it is none."""
    if wanted in (ALL_COLUMNS, NO_COLUMNS):
        return str(wanted)
    if isinstance(wanted, (list, tuple)) and wanted and all(isinstance(name, str) and name for name in wanted):
        return tuple(dict.fromkeys(wanted))
    message = (
        f"{CELL_COLUMNS:name} must be '{ALL_COLUMNS}', '{NO_COLUMNS}' or names of attributes of cells, not {wanted!r}"
    )
    raise UsageError(message)


@dataclass(frozen=True)
class KeptColumns:
    """The columns of a source's table of cells, and what a user should know of those that are left out.

    The schema begins with the fields of `CELL_SCHEMA`; ``n_counts`` and ``n_genes`` are among the `attributes` if the
    matrix has attributes of these names, because these are what a query of cells means.
    """

    schema: pa.Schema = CELL_SCHEMA
    attributes: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[tuple[str, str], ...]:
        """Names and types, in the order of the columns."""
        return tuple((field.name, str(field.type)) for field in self.schema)


def kept_columns(matrix: CountMatrix, wanted: CellColumns) -> KeptColumns:
    """Return the columns of the table of cells of a matrix; each task that reads a unit of it gets the same."""
    names = matrix.attributes("cell")
    chosen = [name for name in names if wanted == ALL_COLUMNS or name in COMPUTED or name in wanted]
    types: dict[str, pa.DataType] = {}
    used = {*_TAKEN, *COMPUTED}
    clashing, problems, left_out = [], [], 0
    for name in chosen if wanted != NO_COLUMNS else [name for name in COMPUTED if name in names]:
        beat()
        if name not in COMPUTED and not _is_usable(name, used):
            if not _has_ids(matrix, name):
                clashing.append(name)
        elif len(types) == MOST_COLUMNS and wanted == ALL_COLUMNS:
            left_out += 1
        else:
            try:
                kind = matrix.cell_column_type(name)
            except InputError as error:
                if error.kind != OTHER_TYPE or wanted != ALL_COLUMNS:
                    problems.append(error.without(matrix.location))
                continue
            # A total is a double in every source, however its matrix keeps it.
            types[name] = pa.float64() if name == "n_counts" and _is_number(kind) else kind
            used.add(name.casefold())
    fixed = [pa.field(field.name, types.get(field.name, field.type), field.nullable) for field in CELL_SCHEMA]
    others = [pa.field(name, kind) for name, kind in types.items() if name not in COMPUTED]
    return KeptColumns(pa.schema([*fixed, *others]), frozenset(types), _warnings(matrix, clashing, left_out, problems))


def cell_table(
    matrix: CountMatrix, kept: KeptColumns, first: int, taken: Flags, ids: Texts, n_counts: Floats, n_genes: Int32s
) -> pa.Table:
    """Return what is kept of the `taken` of the cells from `first` on; ids and numbers are those of the taken ones."""
    computed = {
        "cell": pa.array(ids.tolist(), pa.string()),
        "n_counts": pa.array(n_counts, pa.float64()),
        "n_genes": pa.array(n_genes, pa.int32()),
        "n_values": pa.array(n_genes, pa.int32()),
    }
    mask = None if taken.all() else pa.array(taken)
    columns = []
    for field in kept.schema:
        if field.name not in kept.attributes:
            columns.append(computed[field.name])
            continue
        beat()
        try:
            column = matrix.cell_column(field.name, first, first + len(taken))
            column = column if mask is None else column.filter(mask)
            columns.append(column if pa.types.is_dictionary(column.type) else column.cast(field.type, safe=False))
        except InputError as error:
            message = f"{error.text}: leave it out of what is kept of the cells with {CELL_COLUMNS}"
            raise InputError(message, kind=error.kind) from error
    # Texts may have come as dictionaries.
    fields = [field.with_type(column.type) for field, column in zip(kept.schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _warnings(matrix: CountMatrix, clashing: list[str], left_out: int, problems: list[str]) -> tuple[str, ...]:
    """Return what a user should know of attributes that are not kept."""
    warnings = [f"not kept with the cells: {problem}" for problem in problems]
    if clashing:
        warnings.append(
            f"not kept with the cells: {matrix.cell_attribute} {listed([brief(name) for name in clashing], _SHOWN)}, "
            "which engines do not tell from another column by its name"
        )
    if left_out:
        warnings.append(
            f"{counted(left_out, 'attribute')} of the cells not kept, beyond the first {MOST_COLUMNS} by name: choose "
            f"among them with {CELL_COLUMNS}"
        )
    return tuple(warnings)


def _is_usable(name: str, used: set[str]) -> bool:
    """Say whether a name can be that of a column: engines that ignore case must tell it from others."""
    return bool(name) and name.casefold() not in used and is_text(name)


def _has_ids(matrix: CountMatrix, name: str) -> bool:
    """Say whether an attribute that is called as the ids are in a table of cells has the ids of the first cells."""
    if name != CELL_SCHEMA.names[0]:
        return False
    last = min(_COMPARED, matrix.shape[1])
    try:
        held = matrix.cell_column(name, 0, last)
    except InputError:  # of another type: it is left out, and that is said
        return False
    return bool(held.cast(pa.string()).to_pylist() == matrix.cell_ids(0, last).tolist())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
