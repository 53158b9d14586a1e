"""The genes of a Parquet file: the values of its column of genes, and what leads numbers of genes to their ids."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from median_spark import storage
from median_spark.errors import InputError, counted, listed
from median_spark.matrices.arrow_columns import ArrowTable
from median_spark.matrices.contract import Ints, brief
from median_spark.matrices.coordinates import Numbering
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.parquet.columns import require_distinct
from median_spark.matrices.parquet.files import naming_damage

_TABLE = "gene_metadata.parquet"
_PLACES = (_TABLE, f"metadata/{_TABLE}", f"../metadata/{_TABLE}")
"""Where the table of genes may lie, from the folder of the matrix; Tahoe-100M's is the last."""

_NUMBER = "token_id"
"""Its column of the numbers that stand for genes."""

_LARGEST = 1 << 26
"""Bytes of a table of genes: some hundred thousand genes take a few million."""


@dataclass(frozen=True)
class GeneAxis:
    """The rows of a matrix: a table of their attributes, and how entries name them.

    Entries name a gene by a number of `numbering`, or by one of `texts`, whose places are the rows.
    """

    rows: ArrowTable
    numbering: Numbering
    texts: pa.Array | None

    def numbers(self, genes: pa.Array) -> Ints:
        """Return the numbers of genes of entries; -1 for a text that is no row's."""
        if self.texts is None:
            return np.asarray(genes.to_numpy(zero_copy_only=False)).astype(np.int64, copy=False)
        if not pa.types.is_dictionary(genes.type):
            genes = genes.dictionary_encode()
        genes.validate(full=True)  # a damaged file may have codes beyond its dictionary
        rows = pc.index_in(genes.dictionary.cast(pa.string()), value_set=self.texts).fill_null(-1).to_numpy()
        return np.asarray(rows[genes.indices.to_numpy()].astype(np.int64))


def tabled_genes(location: str, names: AttributeNames) -> GeneAxis | None:
    """Return the genes of a table that lies beside a matrix, None if there is none.

    InputError if it has no number or no id of each gene, or one number twice.
    """
    found = _find(location)
    if found is None:
        return None
    filesystem, path = storage.resolve(found)
    stat = storage.stat(found)
    if stat is not None and stat.size > _LARGEST:
        _refuse(location, found, f"has {stat.size:,} bytes, too many for a table of genes")
    with naming_damage(found, "this table of genes"):
        table = storage.with_retries(found, lambda: storage.read_parquet(filesystem.open_input_file(path)))
    require_distinct(found, table.column_names)
    id_column = names.gene_id if names.gene_id in table.column_names else "ensembl_id"
    lacking = [name for name in (_NUMBER, id_column) if name not in table.column_names]
    if lacking:
        _refuse(location, found, f"has no column {listed(lacking)}; it has {listed(table.column_names, 12)}")
    column = table.column(_NUMBER)
    if not pa.types.is_integer(column.type) or column.null_count or pa.types.is_uint64(column.type):
        _refuse(location, found, f"must have a whole number '{_NUMBER}' of each gene; it holds {column.type}")
    numbers = column.to_numpy().astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    twice = numbers[1:][numbers[1:] == numbers[:-1]]
    if len(twice):
        _refuse(location, found, f"has the number {int(twice[0])} of '{_NUMBER}' more than once")
    rows = ArrowTable(location, table.take(pa.array(order)), "column of gene_metadata.parquet", "genes")
    return GeneAxis(rows, Numbering(len(numbers), int(numbers[0]) if len(numbers) else 0, numbers), None)


def own_genes(location: str, column: str, distinct: pa.Array, names: AttributeNames) -> GeneAxis:
    """Return the genes that a file's own column has: texts, or numbers, which a gene map may lead to ids."""
    if pa.types.is_integer(distinct.type):
        numbers = np.sort(distinct.to_numpy().astype(np.int64))
        ids = pa.array(numbers.astype(np.str_).tolist(), pa.string())
        axis = Numbering(len(numbers), int(numbers[0]) if len(numbers) else 0, numbers)
        return GeneAxis(_table(location, column, ids, names), axis, None)
    texts = distinct.take(pc.sort_indices(distinct))
    return GeneAxis(_table(location, column, texts, names), Numbering(len(texts)), texts)


def _table(location: str, column: str, ids: pa.Array, names: AttributeNames) -> ArrowTable:
    # The column of genes answers to the name that options ask for, whatever its own.
    return ArrowTable(location, pa.table({column: ids, names.gene_id: ids}), "column", "genes")


def distinct_genes(location: str, column: str, batches: Iterable[pa.Array]) -> pa.Array:
    """Return the distinct genes of all entries, ascending; InputError if one is missing, or they are no ids."""
    found: pa.Array | None = None
    for genes in batches:
        kind = genes.type.value_type if pa.types.is_dictionary(genes.type) else genes.type
        if not (pa.types.is_integer(kind) or _is_text(kind)):
            message = f"{location}: column '{brief(column)}' must hold ids or numbers of genes; it holds {kind}"
            raise InputError(message)
        if genes.null_count:
            entries = counted(genes.null_count, "entry", "entries")
            message = f"{location}: column '{brief(column)}' has {entries} without a gene"
            raise InputError(message)
        with naming_damage(location, f"column '{brief(column)}'"):
            genes.validate(full=True)
        new = pc.unique(genes)
        if pa.types.is_dictionary(new.type):
            new = new.dictionary.take(new.indices)
        new = new.cast(pa.string() if _is_text(kind) else pa.int64())
        found = new if found is None else pc.unique(pa.concat_arrays([found, new]))
    if found is None:
        return pa.array([], pa.string())
    return found.take(pc.sort_indices(found))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _find(location: str) -> str | None:
    folder = location.rpartition("/")[0]
    for place in _PLACES:
        above = folder.rpartition("/")[0] if place.startswith("../") else folder
        candidate = storage.join(above, place.removeprefix("../"))
        if storage.stat(candidate) is not None:
            return candidate
    return None


def _refuse(location: str, table: str, problem: str) -> NoReturn:
    message = f"{location}: the table of its genes, {table}, {problem}"
    raise InputError(message, kind="table of genes")
