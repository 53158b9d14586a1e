"""Which columns of a Parquet file are genes, counts and cells, told by their exact names or by options."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from median_spark.errors import InputError, listed
from median_spark.matrices.options import AUTO_LAYER, CELL_ID_CANDIDATES, AttributeNames
from median_spark.options import CELL_ID_ATTR, GENE_ID_ATTR, LAYER, Option

LIST_GENES = "genes"
LIST_COUNTS = ("expressions", "counts")
"""Names of the two lists of a cell, as Tahoe-100M has them."""

LIST_CELLS = ("BARCODE_SUB_LIB_ID", "cell", "barcode", *CELL_ID_CANDIDATES)

LONG_GENES = ("ensembl_id", "gene_id", "feature_id", "gene")
LONG_CELLS = ("cell", "barcode", *CELL_ID_CANDIDATES)
LONG_COUNTS = ("count", "counts", "value")
"""Names that columns of long tables are known by; several of one kind are not chosen among."""


@dataclass(frozen=True)
class CountColumns:
    """The columns of genes, counts and, where a row is an entry, of cells."""

    gene: str
    count: str
    cell: str | None

    @property
    def is_long(self) -> bool:
        """Whether a row is an entry and not a cell."""
        return self.cell is not None


def find_columns(location: str, schema: pa.Schema, names: AttributeNames, layer: str) -> CountColumns:
    """Return the columns that make a matrix; InputError if there are none of the names known or given."""
    require_distinct(location, schema.names)
    gene_given = names.gene_id if names.gene_id in schema.names else None
    count_given = None if layer == AUTO_LAYER else layer
    if count_given is not None and count_given not in schema.names:
        message = (
            f"{location}: there is no column '{count_given}' in this file; it has {_all(schema)}: name it with {LAYER}"
        )
        raise InputError(message, kind="no such layer")
    lists = [name for name in schema.names if _is_list(schema.field(name).type)]
    gene = gene_given if gene_given in lists else LIST_GENES if LIST_GENES in lists else None
    count = count_given or next((name for name in LIST_COUNTS if name in lists), None)
    if gene is not None and count is not None and count in lists and count != gene:
        _require_numbers(location, schema, count, schema.field(count).type.value_type)
        return CountColumns(gene, count, None)
    plain = [name for name in schema.names if name not in lists]
    chosen = (
        _one(location, "genes", gene_given, LONG_GENES, plain, GENE_ID_ATTR),
        _one(location, "counts", count_given, LONG_COUNTS, plain, LAYER),
        _one(location, "cells", names.cell_id, LONG_CELLS, plain, CELL_ID_ATTR),
    )
    if None in chosen or len(set(chosen)) < len(chosen):
        message = (
            f"{location}: this Parquet file is no count matrix: it must have lists '{LIST_GENES}' and "
            f"{' or '.join(repr(name) for name in LIST_COUNTS)} in a row per cell, or columns of gene "
            f"({', '.join(LONG_GENES)}), count ({', '.join(LONG_COUNTS)}) and cell ({', '.join(LONG_CELLS)}) in a row "
            f"per entry; it has {_all(schema)}: name others with {GENE_ID_ATTR}, {LAYER} and {CELL_ID_ATTR}"
        )
        raise InputError(message, kind="no count matrix")
    found = CountColumns(str(chosen[0]), str(chosen[1]), str(chosen[2]))
    _require_numbers(location, schema, found.count, schema.field(found.count).type)
    return found


def require_distinct(location: str, names: Sequence[str]) -> None:
    """Reject a file that has several columns of one name, as nothing tells which of them is meant."""
    several = [name for name, number in Counter(names).items() if number > 1]
    if several:
        message = f"{location}: this file has several columns {listed(several, 4)}: give each a name of its own"
        raise InputError(message, kind="several columns of one name")


def _one(
    location: str, what: str, given: str | None, known: tuple[str, ...], there: list[str], option: Option
) -> str | None:
    """Return the column that was given, or the only one of a known name; None if there is none."""
    if given is not None:
        return given if given in there else None
    found = [name for name in dict.fromkeys(known) if name in there]
    if len(found) > 1:
        message = f"{location}: {listed(found)} may all be the column of {what}: name it with {option}"
        raise InputError(message, kind=f"several columns of {what}")
    return found[0] if found else None


def _require_numbers(location: str, schema: pa.Schema, name: str, kind: pa.DataType) -> None:
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        message = f"{location}: column '{name}' must hold numbers, the counts; it holds {schema.field(name).type}"
        raise InputError(message)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _all(schema: pa.Schema) -> str:
    return listed(schema.names, 12) or "none"
