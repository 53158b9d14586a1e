"""Small sound matrices as 10x and Parse write them, HDF5 and folders of triples; and damage to lines of text."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse

ODD_FIELDS = ["", "nan", "inf", "-1", "0", "1.5", "1e3", "99999999999", "9" * 40, "x", "\x00", '"', "ENSG", "%", "NA"]


def put_tenx(rng: np.random.Generator, file: h5py.File, dataset: Any, counts: np.ndarray, ids: list[str]) -> str:
    """Write a matrix of features by cells as Cell Ranger 2 or 3 does; return which.

    Parameters
    ----------
    rng, file
    dataset : callable
        Writes a dataset, by its group, name and values.
    counts : ndarray
        Features by cells.
    ids : list of str
        Of the features.
    """
    newer = bool(rng.random() < 0.7)
    group = file.create_group("matrix" if newer else "hg19")
    held = scipy.sparse.csc_matrix(counts.astype(np.float64))
    if rng.random() < 0.4:
        for begin, end in zip(held.indptr[:-1], held.indptr[1:], strict=True):
            order = begin + rng.permutation(end - begin)
            held.indices[begin:end], held.data[begin:end] = held.indices[order], held.data[order]
    dataset(group, "data", held.data.astype(counts.dtype))
    dataset(group, "indices", held.indices.astype(str(rng.choice(["i4", "i8"]))))
    dataset(group, "indptr", held.indptr.astype(str(rng.choice(["i4", "i8"]))))
    group["shape"] = np.array(counts.shape, dtype=np.int32)
    dataset(group, "barcodes", np.array([f"CELL-{cell}".encode() for cell in range(counts.shape[1])]))
    names = np.array([f"symbol{gene}".encode() for gene in range(len(ids))])
    if not newer:
        dataset(group, "genes", np.array([gene.encode() for gene in ids]))
        dataset(group, "gene_names", names)
        return "Cell Ranger 2"
    features = group.create_group("features")
    kinds = rng.choice([b"Gene Expression", b"Antibody Capture"], len(ids), p=[0.8, 0.2])
    kinds[0] = b"Gene Expression"
    dataset(features, "id", np.array([gene.encode() for gene in ids]))
    dataset(features, "name", names)
    dataset(features, "feature_type", kinds if rng.random() < 0.5 else np.full(len(ids), b"Gene Expression"))
    dataset(features, "genome", np.full(len(ids), b"GRCh38"))
    return "Cell Ranger 3"


def write_triples(rng: np.random.Generator, folder: Path, counts: np.ndarray, ids: list[str]) -> list[Path]:
    """Write a folder of triples; return its files, that of counts first."""
    parse, zipped = bool(rng.random() < 0.3), bool(rng.random() < 0.4)
    prefix = str(rng.choice(["", "GSM1_"]))
    rows, columns = np.nonzero(counts)
    order = [np.lexsort((rows, columns)), np.lexsort((columns, rows)), rng.permutation(len(rows))][rng.integers(3)]
    rows, columns = rows[order], columns[order]
    values = counts[rows, columns].tolist()
    field = "integer" if counts.dtype.kind in "iu" else "real"
    shape = counts.shape[::-1] if parse else counts.shape
    first, second = (columns, rows) if parse else (rows, columns)
    lines = [f"{one + 1} {other + 1} {value}" for one, other, value in zip(first, second, values, strict=True)]
    head = [f"%%MatrixMarket matrix coordinate {field} general", "%", f"{shape[0]} {shape[1]} {len(lines)}"]
    if parse:
        names = ("DGE.mtx", "all_genes.csv", "cell_metadata.csv")
        genes = ["gene_id,gene_name,genome", *(f"{gene},symbol{row},hg38" for row, gene in enumerate(ids))]
        cells = ["bc_wells,sample", *(f"01_{cell},s" for cell in range(counts.shape[1]))]
    else:
        names = ("matrix.mtx", str(rng.choice(["features.tsv", "genes.tsv"])), "barcodes.tsv")
        genes = [f"{gene}\tsymbol{row}\tGene Expression" for row, gene in enumerate(ids)]
        cells = [f"CELL-{cell}" for cell in range(counts.shape[1])]
    paths = []
    for name, text in zip(names, ([*head, *lines], genes, cells), strict=True):
        content = "".join(f"{line}\n" for line in text).encode()
        paths.append(folder / f"{prefix}{name}{'.gz' if zipped else ''}")
        paths[-1].write_bytes(gzip.compress(content) if zipped else content)
    return paths


def damage_lines(rng: np.random.Generator, path: Path, notes: list[str]) -> None:
    """Change, remove, repeat or swap some lines or fields of a file of text."""
    stored = path.read_bytes()
    zipped = stored[:2] == b"\x1f\x8b"
    lines = (gzip.decompress(stored) if zipped else stored).decode().split("\n")
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        at = int(rng.integers(len(lines)))
        how = int(rng.integers(6))
        notes.append(f"line {at} of {path.name}: {how}")
        fields = lines[at].split(" ") if " " in lines[at] else lines[at].split("\t")
        if how == 0 and len(lines) > 1:
            del lines[at]
        elif how == 1:
            lines.insert(at, lines[at])
        elif how == 2:
            other = int(rng.integers(len(lines)))
            lines[at], lines[other] = lines[other], lines[at]
        elif how == 3:
            lines = [*lines[:at], ""]
        else:
            fields[rng.integers(len(fields))] = ODD_FIELDS[rng.integers(len(ODD_FIELDS))]
            lines[at] = (" " if " " in lines[at] else "\t").join(fields)
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)


def read_tenx(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return counts of genes by cells, and ids, by h5py and numpy."""
    with h5py.File(path) as file:
        newer = "features" in file.get("matrix", {})
        group = file["matrix"] if newer else next(held for held in file.values() if "genes" in held)
        shape = [int(extent) for extent in group["shape"][()]]
        counts = np.zeros(shape)
        data, indices, indptr = (group[name][()] for name in ("data", "indices", "indptr"))
        cells = np.repeat(np.arange(shape[1]), np.diff(indptr.astype(np.int64)))
        if indices.min(initial=0) < 0 or len(group["barcodes"]) != shape[1]:
            message = "lists that do not fit"
            raise ValueError(message)
        np.add.at(counts, (indices.astype(np.int64), cells), data)
        ids = [_text(gene) for gene in group["features/id" if newer else "genes"][()].tolist()]
        if newer and "feature_type" in group["features"]:
            kept = np.array([_text(kind) == "Gene Expression" for kind in group["features/feature_type"][()].tolist()])
            counts, ids = counts[kept], [gene for gene, keep in zip(ids, kept, strict=True) if keep]
    return counts, ids


def _text(raw: Any) -> str:
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)


def read_triples(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return counts of genes by cells, and ids, line by line in Python."""
    by_name = {other.name.removesuffix(".gz").removeprefix("GSM1_"): other for other in path.parent.iterdir()}
    parse = "all_genes.csv" in by_name
    lines = [line.split() for line in _lines(path) if line.strip() and not line.startswith("%")]
    shape = [int(extent) for extent in lines[0][:2]]
    if len(lines) - 1 != int(lines[0][2]) or any(len(line) != 3 for line in lines):
        message = "another number of entries or fields"
        raise ValueError(message)
    counts = np.zeros(shape)
    for row, column, value in lines[1:]:
        if min(int(row), int(column)) < 1:
            message = "an entry outside the matrix"
            raise ValueError(message)
        counts[int(row) - 1, int(column) - 1] += float(value)
    if parse:
        table = list(csv.DictReader(_lines(by_name["all_genes.csv"])))
        ids, cells = [row["gene_id"] for row in table], len(list(csv.DictReader(_lines(by_name["cell_metadata.csv"]))))
        counts = counts.T
    else:
        name = "features.tsv" if "features.tsv" in by_name else "genes.tsv"
        table = [line.rstrip("\n").split("\t") for line in _lines(by_name[name]) if line.strip("\n")]
        cells = len([line for line in _lines(by_name["barcodes.tsv"]) if line.strip("\n")])
        kept = np.array([row[2] == "Gene Expression" for row in table])
        if counts.shape != (len(table), cells):
            message = "lists that do not fit"
            raise ValueError(message)
        ids, counts = [row[0] for row, keep in zip(table, kept, strict=True) if keep], counts[kept]
    if counts.shape[0] != len(ids) or counts.shape[1] != cells:
        message = "lists that do not fit"
        raise ValueError(message)
    return counts, ids


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return list(io.StringIO(content.decode("utf-8", "backslashreplace")))
