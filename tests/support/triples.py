"""Writing folders of triples for tests, as 10x and Parse do, with whatever is to be wrong about them."""

import gzip
from pathlib import Path

import numpy as np


def write_tenx(folder, counts, *, prefix="", gz=True, ids=None, types=None, barcodes=None, **changes):
    """Write counts, genes by cells, as Cell Ranger 3 does (with `gz`), or as 2 does; return the matrix's location.

    `changes` go to `matrix_text`; `names` of it replace those of the three files.
    """
    folder = Path(folder)
    counts = np.asarray(counts)
    genes, cells = counts.shape
    ids = [f"ENSG{number:011d}" for number in range(genes)] if ids is None else ids
    types = ["Gene Expression"] * len(ids) if types is None else types
    barcodes = [f"cell{number}" for number in range(cells)] if barcodes is None else barcodes
    names = changes.pop("names", ("matrix.mtx", "features.tsv" if gz else "genes.tsv", "barcodes.tsv"))
    lines = [f"{gene}\tsymbol{number}" for number, gene in enumerate(ids)]
    if gz:
        lines = [f"{line}\t{kind}" for line, kind in zip(lines, types, strict=True)]
    texts = (matrix_text(counts, **changes), "".join(f"{line}\n" for line in lines),
             "".join(f"{barcode}\n" for barcode in barcodes))  # fmt: skip
    return _write(folder, prefix, names, texts, gz)


def write_parse(folder, counts, *, prefix="", name="DGE.mtx", gz=False, ids=None, **changes):
    """Write counts, genes by cells, as Parse does: cells by genes, with CSVs; return the matrix's location.

    `columns` of `changes` are further columns of cell_metadata.csv; the rest goes to `matrix_text`.
    """
    counts = np.asarray(counts)
    genes, cells = counts.shape
    ids = [f"ENSG{number:011d}" for number in range(genes)] if ids is None else ids
    columns = {
        "bc_wells": [f"01_01_{number:02d}" for number in range(cells)],
        "sample": ["one", "two"] * (cells // 2) + ["one"] * (cells % 2),
        "tscp_count": counts.sum(axis=0).tolist(),
        **changes.pop("columns", {}),
    }
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    gene_rows = [f"{gene},symbol{number},hg38" for number, gene in enumerate(ids)]
    texts = (matrix_text(counts.T, **changes), "\n".join(["gene_id,gene_name,genome", *gene_rows, ""]),
             "\n".join([",".join(columns), *rows, ""]))  # fmt: skip
    return _write(Path(folder), prefix, (name, "all_genes.csv", "cell_metadata.csv"), texts, gz)


def matrix_text(counts, *, field=None, order="F", header=None, entries=None, end="\n", separator=" "):
    """Return a Matrix Market file; `order` is ``"F"`` (by column), ``"C"`` (by row) or a generator that shuffles.

    `entries` replaces the lines of entries, `header` that of the three numbers.
    """
    counts = np.asarray(counts)
    rows, columns = np.nonzero(counts)
    if isinstance(order, str):
        by = np.lexsort((rows, columns) if order == "F" else (columns, rows))
    else:
        by = order.permutation(len(rows))
    rows, columns = rows[by], columns[by]
    values = counts[rows, columns]
    field = field or ("integer" if counts.dtype.kind in "iu" else "real")
    lines = [separator.join([str(row + 1), str(column + 1), repr(value)])
             for row, column, value in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True)]  # fmt: skip
    lines = lines if entries is None else entries
    numbers = header or f"{counts.shape[0]} {counts.shape[1]} {len(lines)}"
    comment = '%metadata_json: {"software_version": "cellranger-7.0.0", "format_version": 2}'
    return end.join([f"%%MatrixMarket matrix coordinate {field} general", comment, numbers, *lines, ""])


def _write(folder, prefix, names, texts, gz):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}{name}{'.gz' if gz else ''}" for name in names]
    for path, text in zip(paths, texts, strict=True):
        content = text.encode("utf-8", "surrogateescape")
        path.write_bytes(gzip.compress(content) if gz else content)
    return str(paths[0])
