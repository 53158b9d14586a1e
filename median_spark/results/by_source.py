"""Putting together what tasks found source by source: one file of all, and each source's ratio to the corpus.

Holds one source at a time, and about a million rows to write at once.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark.digests import read_source_medians
from median_spark.errors import TableError
from median_spark.expression import SourceRecord
from median_spark.results.sources import BY_SOURCE_SCHEMA, SourceRatio, compare_source

_ROW_GROUP_ROWS = 1_000_000

_STORED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("gene", pa.dictionary(pa.int32(), pa.string()), False),
        BY_SOURCE_SCHEMA.field("n_cells"),
        BY_SOURCE_SCHEMA.field("median"),
    ]
)
"""`BY_SOURCE_SCHEMA` as it is handed to the writer, to which numbers are less work than names."""

_DICTIONARY_BYTES = 8 << 20
"""Room for the names of all genes, above which Parquet writes each name out."""


def assemble_by_source(
    locations: Sequence[str], records: Sequence[SourceRecord], table: pa.Table, target: Path
) -> list[SourceRatio]:
    """Put the medians of all tasks into one file of `BY_SOURCE_SCHEMA`, and compare each source with the corpus.

    Parameters
    ----------
    locations : sequence of str
        Files that tasks wrote, in the order of sources; see `median_spark.digests.sweep_sources`.
    records : sequence of SourceRecord
        The sources, ascending.
    table : pyarrow.Table
        The median table of their genes.
    target : Path
        The file.

    Returns
    -------
    list of SourceRatio
        One a source.

    Raises
    ------
    TableError
        If a source's genes have not as many values as its record says.
    EngineError
        If a file is not there.
    """
    names, genes = pa.array([record.source for record in records], pa.string()), table["gene"].combine_chunks()
    corpus_cells, corpus_medians = (table[name].to_numpy() for name in ("n_cells", "median"))
    ratios = [SourceRatio(0, 0, (np.nan, np.nan, np.nan))] * len(records)
    values = np.zeros(len(records), dtype=np.int64)
    gathered: list[pa.Table] = []
    with pq.ParquetWriter(
        target, _STORED_SCHEMA, store_schema=False, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES
    ) as writer:
        for source, found in read_source_medians(locations):
            places, n_cells, medians = (found[name].to_numpy() for name in ("gene", "n_cells", "median"))
            ratios[source] = compare_source(places, n_cells, medians, corpus_cells, corpus_medians)
            values[source] = n_cells.sum()
            gathered.append(found)
            if sum(map(len, gathered)) >= _ROW_GROUP_ROWS:
                writer.write_table(_named(gathered, names, genes))
                gathered = []
        if gathered:
            writer.write_table(_named(gathered, names, genes))
    for record, found_values in zip(records, values.tolist(), strict=True):
        if found_values != record.values:
            message = (
                f"source '{record.source}' has {found_values:,} values where its record says {record.values:,}: "
                "convert it again"
            )
            raise TableError(message)
    return ratios


def _named(tables: list[pa.Table], names: pa.Array, genes: pa.Array) -> pa.Table:
    """Return rows of source medians with the names of their sources and genes."""
    rows = pa.concat_tables(tables).combine_chunks()
    columns = [
        pa.DictionaryArray.from_arrays(rows["source"].combine_chunks(), names),
        pa.DictionaryArray.from_arrays(rows["gene"].combine_chunks(), genes),
        rows["n_cells"],
        rows["median"],
    ]
    return pa.table(columns, schema=_STORED_SCHEMA)
