"""Which ids of the gene table a matrix's ids are, where versions, prefixes or capitals separate the two.

Another spelling is tried only where the table has none of the ids as they are, and taken only if no two of them become
one. Knows nothing of gene types and counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from median_spark.errors import GeneTableError, InputError
from median_spark.genes.ids import CASE, PREFIX, VERSION, has_version, respelled, respellings
from median_spark.genes.table import GeneTable
from median_spark.options import GENE_MAP, STRIP_VERSION

_WORDS = {PREFIX: "prefixes", CASE: "lower case", VERSION: "versions"}


@dataclass(frozen=True)
class Matched:
    """Ids and gene table in spellings that go together; see `median_spark.genes.row_ids.RowCounts` for the others."""

    ids: npt.NDArray[np.str_]
    table: GeneTable
    versions_ignored: bool
    respelled: tuple[str, ...]


def match_table(source: str, ids: npt.NDArray[np.str_], table: GeneTable, *, may_respell: bool) -> Matched:
    """Return ids and gene table in spellings that go together.

    Versions are taken off the table if it has some and none of the ids has. If it still has none of the ids, prefixes
    are taken off these, and they are set in capitals; if that is not enough, versions are taken off on both sides.

    `source` is for messages; empty ids stay empty. InputError if two ids of the matrix are one of the table's, or if
    the table has two types for two versions of one id where versions are taken off.
    """
    given = table
    versions_ignored = _alone_has_versions(ids, table)
    if versions_ignored:
        table = _without_versions(source, given)
    if not may_respell or _known(ids, table):
        return Matched(ids, table, versions_ignored, ())
    kinds = respellings(ids)
    for tried in (tuple(kind for kind in kinds if kind != VERSION), kinds):
        spelled = respelled(ids, tried)
        off = given.has_versions and (VERSION in tried or _alone_has_versions(spelled, given))
        beside = _without_versions(source, given) if off else given
        if tried and _known(spelled, beside):
            _require_one_to_one(source, ids, spelled, beside, tried)
            return Matched(spelled, beside, off, tried)
    return Matched(ids, table, versions_ignored, ())


def respelling_warning(kinds: tuple[str, ...]) -> str:
    """Return what was done to ids so that the gene table has them."""
    return (
        f"the gene table has none of its ids as they are: they were matched without regard to "
        f"{' and '.join(_WORDS[kind] for kind in kinds)}, and genes are called as the table calls them"
    )


def _alone_has_versions(ids: npt.NDArray[np.str_], table: GeneTable) -> bool:
    """Say whether the table has versions and none of the ids has."""
    return table.has_versions and not any(map(has_version, ids.tolist()))


def _known(ids: npt.NDArray[np.str_], table: GeneTable) -> bool:
    return any(gene in table.gene_types for gene in ids.tolist())


def _require_one_to_one(
    source: str,
    ids: npt.NDArray[np.str_],
    spelled: npt.NDArray[np.str_],
    table: GeneTable,
    kinds: tuple[str, ...],
) -> None:
    first: dict[str, str] = {}
    for gene, plain in zip(ids.tolist(), spelled.tolist(), strict=True):
        if plain in table.gene_types and first.setdefault(plain, gene) != gene:
            remedy = f"{STRIP_VERSION} sums them" if kinds == (VERSION,) else f"{GENE_MAP:name} says which to take"
            message = (
                f"{source}: the gene table has none of its ids as they are, and '{first[plain]}' and '{gene}' would "
                f"both be '{plain}' without {' and '.join(_WORDS[kind] for kind in kinds)}: {remedy}"
            )
            raise InputError(message, kind="two ids of one gene")


def _without_versions(source: str, table: GeneTable) -> GeneTable:
    try:
        return table.without_versions
    except GeneTableError as error:
        message = f"{source}: its ids are matched without versions, and those of the gene table have some: {error}"
        raise InputError(message) from error
