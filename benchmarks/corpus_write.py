"""Writes the corpus: `python corpus_write.py SCRATCH SIZES SECTIONS ROWS…`; prints what there is.

Sections, parted by commas, are those to be measured; rows are those of each table. Needs tests/support on the path.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from corpus import Corpus
from corpus_formats import write_formats
from corpus_h5ads import write_h5ads
from corpus_looms import write_looms
from corpus_tables import link_table, repeat_table, stored_bytes, write_table
from corpus_zarrs import write_zarrs
from sizes import SIZES, short


def main() -> None:
    scratch, name, sections, *rows_of_tables = sys.argv[1:]
    measured = set(sections.split(","))
    sizes = replace(SIZES[name], tables=tuple(map(int, rows_of_tables)))
    corpus = Corpus(Path(scratch), sizes)
    genes, cells = sizes.loom_genes, sizes.loom_cells
    write_looms(corpus.warm_up_looms, looms=1, distinct=1, genes=2_000, cells=500)
    paths = write_looms(corpus.looms, looms=sizes.looms, distinct=sizes.distinct, genes=genes, cells=cells)
    if measured & {"h5ad", "zarr", "formats"}:
        write_h5ads(corpus.h5ads, paths[0])
    if "zarr" in measured:
        write_zarrs(corpus.zarrs, corpus.h5ads / "uncompressed.h5ad")
    if "formats" in measured:  # takes as long as all else
        write_formats(corpus.formats, corpus.h5ads / "uncompressed.h5ad")
    write_table(corpus.warm_up_table, rows=1_000_000, rows_a_source=1_000_000)
    *smaller, largest = sizes.tables
    whole = write_table(corpus.table(largest), rows=largest, rows_a_source=sizes.source_rows)
    tables = {rows: link_table(corpus.table(rows), whole, rows=rows) for rows in smaller} | {largest: whole}
    tables[largest * sizes.copies] = repeat_table(corpus.repeated_table, whole, sizes.copies)
    described = {
        short(rows): {
            "rows": sum(record.values for record in table.sources()),
            "sources": len(table.sources()),
            "bytes": stored_bytes(table),
        }
        for rows, table in tables.items()
    }
    print(json.dumps({"loom_bytes": sum(path.stat().st_size for path in paths), "tables_written": described}))


if __name__ == "__main__":
    main()
