"""What the rows of a matrix are called, under which id they count, and how many count for what."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from median_spark.genes.ids import no_ids, without_version
from median_spark.genes.map import GeneMap


@dataclass(frozen=True)
class RowIds:
    """What the rows of a matrix are called, and under which id they count; each array has one entry per row."""

    names: npt.NDArray[np.str_]  # as the matrix has them, or without versions
    ids: npt.NDArray[np.str_]  # empty where a row has no id, or where the gene map lacks its name
    lacking: npt.NDArray[np.bool_]  # the name is no id, or the gene map maps it to none; see `ids.is_no_id`


def row_ids(gene_ids: npt.NDArray[np.str_], gene_map: GeneMap | None, *, strip_version: bool) -> RowIds:
    """Return under which ids the rows of a matrix count.

    Without a gene map this is what they are called. With one, numbers that it has, such as Entrez's, are names.
    """
    names = without_version(gene_ids) if strip_version else gene_ids
    lacking = no_ids(names)
    if gene_map is None:
        return RowIds(names, np.where(lacking, "", names), lacking)
    ids = np.where(no_ids(names, numbers_are_ids=True), "", gene_map.ids_of(names))
    lacking = np.where(ids != "", no_ids(ids), lacking)
    return RowIds(names, np.where(lacking, "", ids), lacking)


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of one matrix; examples are a few of the ids or names."""

    rows: int
    selected_rows: int  # count for a gene
    genes: int  # that the selected rows make
    summed_rows: int  # selected, beyond the first of their gene: counts are added to it
    other_type_rows: int  # the gene type was not chosen
    unknown_rows: int  # the gene table lacks the id, the mapped one where there is a gene map (0 without a table)
    known_rows: int  # the gene table has the id (without a table: all with an id, or all that the gene map has)
    disputed_rows: int  # of a chosen type by the gene table and of another by the matrix: left out
    unknown_examples: tuple[str, ...]
    unmapped_rows: int = 0  # the gene map lacks the name (0 without a map)
    unmapped_examples: tuple[str, ...] = ()
    no_id_rows: int = 0  # the name is no id, such as nan, a number or undecodable bytes; see `ids.is_no_id`
    no_id_examples: tuple[str, ...] = ()  # each once
    versions_ignored: bool = False  # versions were taken off the gene table's ids, as the matrix's ids have none
    respelled: tuple[str, ...] = ()  # in what all ids differed from the gene table's; see `ids.respelled`
    other_version_rows: int = 0  # of the unknown rows, those whose id the gene table has in another version

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote, fields of later versions left out; TypeError or ValueError if it is damaged."""
        stored: dict[str, Any] = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        lists = {name: tuple(value) for name, value in stored.items() if name == "respelled" or "_examples" in name}
        return cls(**{**stored, **lists})
