"""Which ids of the gene table a matrix's ids are, where versions, prefixes or capitals separate the two.

Another spelling is tried only where the table has none of the ids as they are. Knows nothing of gene types and counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.genes.ids import CASE, PREFIX, VERSION, has_version, respelled, respellings
from median_spark.genes.table import GeneTable

_WORDS = {PREFIX: "prefixes", CASE: "case", VERSION: "versions"}


@dataclass(frozen=True)
class Matched:
    """Ids and gene table in spellings that go together; see `median_spark.genes.row_ids.RowCounts` for the others."""

    ids: npt.NDArray[np.str_]
    table: GeneTable
    versions_ignored: bool
    respelled: tuple[str, ...]

    def two_of_one(self, given: npt.NDArray[np.str_]) -> tuple[str, str, str] | None:
        """Return two of the ids as they were given that are one of the table's now, and that one; None if none are."""
        first: dict[str, str] = {}
        for gene, plain in zip(given.tolist(), self.ids.tolist(), strict=True) if self.respelled else ():
            if plain in self.table.gene_types and first.setdefault(plain, gene) != gene:
                return first[plain], gene, plain
        return None


def match_table(ids: npt.NDArray[np.str_], table: GeneTable, *, may_respell: bool) -> Matched:
    """Return ids and gene table in spellings that go together.

    Versions are taken off the table if it has some and none of the ids has. If it still has none of the ids, prefixes
    are taken off these, and they are set in capitals; if that is not enough, versions are taken off on both sides.

    Empty ids stay empty. Two ids may have become one of the table's: see `Matched.two_of_one`. GeneTableError if the
    table has two types for two versions of one id where versions are taken off.
    """
    given = table
    versions_ignored = _alone_has_versions(ids, table)
    if versions_ignored:
        table = given.without_versions
    if not may_respell or _known(ids, table):
        return Matched(ids, table, versions_ignored, ())
    kinds = respellings(ids)
    for tried in (tuple(kind for kind in kinds if kind != VERSION), kinds):
        spelled = respelled(ids, tried)
        off = given.has_versions and (VERSION in tried or _alone_has_versions(spelled, given))
        beside = given.without_versions if off else given
        if tried and _known(spelled, beside):
            return Matched(spelled, beside, off, tried)
    return Matched(ids, table, versions_ignored, ())


def words_of(kinds: tuple[str, ...]) -> str:
    """Return in what ids differ, in words."""
    return " and ".join(_WORDS[kind] for kind in kinds)


def respelling_warning(kinds: tuple[str, ...]) -> str:
    """Return what was done to ids so that the gene table has them."""
    return (
        f"none of its ids is in the gene table as written: they were matched with {words_of(kinds)} ignored, and the "
        "table's ids are used"
    )


def _alone_has_versions(ids: npt.NDArray[np.str_], table: GeneTable) -> bool:
    """Say whether the table has versions and none of the ids has."""
    return table.has_versions and not any(map(has_version, ids.tolist()))


def _known(ids: npt.NDArray[np.str_], table: GeneTable) -> bool:
    return any(gene in table.gene_types for gene in ids.tolist())
