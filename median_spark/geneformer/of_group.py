"""The dictionaries of one group of cells: how a group is named, and which groups there are."""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from median_spark.errors import UsageError, counted, listed
from median_spark.geneformer.dictionaries import (
    GeneformerDictionaries,
    GeneformerOptions,
    Group,
    geneformer_dictionaries,
)
from median_spark.genes import GeneMap, GeneTable
from median_spark.options import DICTIONARY_OF


def parse_group(text: str, by: Sequence[str]) -> dict[str, str | None]:
    """Return the group that a text such as ``"assay=10x 3' v3,sex=female"`` names; after ``=`` may be nothing.

    A value may contain commas and equals signs. Raises UsageError if the text does not name each column once.
    """
    columns = "|".join(re.escape(column) for column in sorted(by, key=len, reverse=True))
    found = list(re.finditer(rf"(?:^|,)\s*({columns})=", text)) if by else []
    ends = [match.start() for match in found[1:]] + [len(text)] * bool(found)
    group = {match[1]: text[match.end() : end].strip() or None for match, end in zip(found, ends, strict=True)}
    if not found or found[0].start() > 0 or len(found) > len(group) or set(group) != set(by):
        wanted = ",".join(f"{column}=…" for column in by)
        message = f"{DICTIONARY_OF:name} must name a value of every column of --by, as in '{wanted}', not '{text}'"
        raise UsageError(message)
    return group


def check_group(group: Group, by: Sequence[str], groups: pa.Table) -> None:
    """Reject a group that is not among the groups of a table, which has the columns that cells are grouped by.

    Raises UsageError, which lists the groups, or says which columns there are.
    """
    if set(group) != set(by):
        message = (
            f"{DICTIONARY_OF:name} must name a value of every column that cells are grouped by ({listed(list(by))})"
        )
        raise UsageError(message)
    if not rows_of_group(group, groups).num_rows:
        distinct = (
            groups.select(list(by)).group_by(list(by)).aggregate([]).sort_by([(name, "ascending") for name in by])
        )
        names = [group_text(row) for row in distinct.to_pylist()]
        message = (
            f"{DICTIONARY_OF:name}: there is no group '{group_text(group)}' with values; "
            f"there {'is' if len(names) == 1 else 'are'} {counted(len(names), 'group')}: {listed(names, 10)}"
        )
        raise UsageError(message)


def group_text(group: Group) -> str:
    """Return how a group is named, see `parse_group`."""
    return ",".join(f"{column}={'' if value is None else value}" for column, value in group.items())


def rows_of_group(group: Group, table: pa.Table) -> pa.Table:
    """Return the rows of a group, of a table that has the columns that cells are grouped by."""
    for column, value in group.items():
        table = table.filter(pc.field(column).is_null() if value is None else pc.field(column) == value)
    return table


def group_dictionaries(
    table: pa.Table,
    options: GeneformerOptions,
    gene_table: GeneTable | None = None,
    gene_map: GeneMap | None = None,
) -> GeneformerDictionaries:
    """Return the dictionaries of the group that the options name, of the medians and means of all or some groups.

    The table has the columns that cells are grouped by, gene, n_cells, median and mean. Raises UsageError if the group
    is not among them.
    """
    group = options.dictionary_of or {}
    check_group(group, list(group), table)
    return geneformer_dictionaries(rows_of_group(group, table), options, gene_table, gene_map)
