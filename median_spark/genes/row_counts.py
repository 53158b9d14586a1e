"""What became of the rows of a matrix, counted. Knows nothing of how it was decided."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of one matrix.

    Attributes
    ----------
    rows : int
        All rows.
    selected_rows : int
        Rows that count for a gene.
    genes : int
        Genes that these rows make.
    summed_rows : int
        Selected rows beyond the first of their gene: their counts are added to it.
    other_type_rows : int
        Rows whose gene type was not chosen.
    unknown_rows : int
        Rows whose id, the mapped one where there is a gene map, the gene table lacks (0 without a table).
    known_rows : int
        Rows whose id the gene table has (without a table all rows with an id, or all that the gene map has).
    disputed_rows : int
        Rows of a chosen type by the gene table and of another by the matrix: left out.
    unknown_examples : tuple of str
        A few of the ids that the table lacks.
    unmapped_rows : int
        Rows whose id or symbol the gene map lacks (0 without a map).
    unmapped_examples : tuple of str
        A few of the names that the map lacks.
    no_id_rows : int
        Rows whose id is none, such as nan, a number or undecodable bytes; see `median_spark.genes.ids.is_no_id`.
    no_id_examples : tuple of str
        A few of these, each once.
    versions_ignored : bool
        Whether the versions of the gene table's ids were taken off, because the matrix's ids have none.
    """

    rows: int
    selected_rows: int
    genes: int
    summed_rows: int
    other_type_rows: int
    unknown_rows: int
    known_rows: int
    disputed_rows: int
    unknown_examples: tuple[str, ...]
    unmapped_rows: int = 0
    unmapped_examples: tuple[str, ...] = ()
    no_id_rows: int = 0
    no_id_examples: tuple[str, ...] = ()
    versions_ignored: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the row_counts as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the counts that `as_json` wrote; older records lack the newer ones."""
        counts: dict[str, Any] = {field.name: mapping[field.name] for field in fields(cls) if field.name in mapping}
        counts |= {name: tuple(count) for name, count in counts.items() if isinstance(count, list)}
        return cls(**counts)
