"""Small sound matrices in Parquet, a cell or an entry per row, by pyarrow; damage to their columns; plain reading."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

GENES, CELLS, COUNTS = ("ensembl_id", "gene_id", "gene"), ("cell", "barcode", "cell_id"), ("count", "counts", "value")
MARKER = (1, -2.0)
"""What Tahoe-100M's lists begin with."""

ODD_VALUES: list[Any] = [None, -1, 0, 0.5, float("nan"), float("inf"), 2**53 + 1, 1e300, "x", "", "nan", "ENSG", True]
KINDS = [pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.bool_()]


def write_parquet(
    rng: np.random.Generator, path: Path, counts: np.ndarray, ids: list[str], columns: dict[str, np.ndarray]
) -> tuple[str, list[Path]]:
    """Write a matrix of genes by cells, with columns of cells; return how, and its files, that of counts first."""
    group = int(rng.choice([1, 7, 100, 100_000]))
    how: dict[str, Any] = {"row_group_size": group, "compression": str(rng.choice(["none", "snappy", "zstd"]))}
    how["use_dictionary"] = bool(rng.random() < 0.7)
    if rng.random() < 0.5:
        pq.write_table(_long(rng, counts, ids, columns), path, **how)
        return f"an entry per row, {how}", [path]
    numbered = bool(rng.random() < 0.6)
    numbers = (rng.permutation(len(ids)) * 2 + 3).tolist()
    pq.write_table(_lists(rng, counts, numbers if numbered else ids, columns), path, **how)
    if not numbered:
        return f"a cell per row, genes by id, {how}", [path]
    beside = path.with_name("gene_metadata.parquet")
    pq.write_table(pa.table({"token_id": numbers, "ensembl_id": ids}), beside)
    return f"a cell per row, genes by number, {how}", [path, beside]


def _lists(rng: np.random.Generator, counts: np.ndarray, genes: list[Any], columns: dict[str, np.ndarray]) -> pa.Table:
    marker = not isinstance(genes[0], str) and rng.random() < 0.5
    listed, held = [], []
    for cell in range(counts.shape[1]):
        there = rng.permutation(np.flatnonzero(counts[:, cell]))
        listed.append([MARKER[0]] * marker + [genes[gene] for gene in there])
        held.append([MARKER[1]] * marker + counts[there, cell].tolist())
    kind = pa.float32() if marker else pa.from_numpy_dtype(counts.dtype)
    name = str(rng.choice(["expressions", "counts"]))
    made = {"genes": pa.array(listed, pa.list_(pa.string() if isinstance(genes[0], str) else pa.int64()))}
    return pa.table({**made, name: pa.array(held, pa.list_(kind)), **columns})


def _long(rng: np.random.Generator, counts: np.ndarray, ids: list[str], columns: dict[str, np.ndarray]) -> pa.Table:
    cells, genes = np.nonzero(counts.T)
    names = [str(rng.choice(known)) for known in (GENES, CELLS, COUNTS)]
    named = [f"cell{cell}" for cell in cells] if rng.random() < 0.7 else (cells * 3).tolist()
    made = {names[0]: [ids[gene] for gene in genes], names[1]: named, names[2]: counts[genes, cells]}
    return pa.table({**made, **{name: held[cells] for name, held in columns.items()}})


def damage_table(rng: np.random.Generator, path: Path, notes: list[str]) -> None:
    """Change some columns or rows of a file."""
    table = pq.read_table(path)
    for _ in range(int(rng.choice([1, 1, 2]))):
        if not table.num_columns or not table.num_rows:
            break
        name, change = table.column_names[rng.integers(table.num_columns)], CHANGES[rng.integers(len(CHANGES))]
        try:
            table = change(rng, table, name)
            notes.append(f"{path.name}: {change.__name__.strip('_')} of {name}")
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            notes.append(f"{path.name}: {change.__name__.strip('_')} of {name} not possible: {error}")
    pq.write_table(table, path, row_group_size=int(rng.choice([3, 100_000])))


def _put(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _value(rng: np.random.Generator, table: pa.Table, name: str) -> pa.Table:
    """Put an odd value in some place of a column, or of a list in it."""
    values, value = table[name].to_pylist(), ODD_VALUES[rng.integers(len(ODD_VALUES))]
    at = int(rng.integers(len(values)))
    kind = table[name].type
    if isinstance(values[at], list) and values[at] and rng.random() < 0.8:
        values[at][rng.integers(len(values[at]))] = value
    else:
        values[at] = value
    return _put(table, name, pa.array(values, kind))


def _length(rng: np.random.Generator, table: pa.Table, name: str) -> pa.Table:
    """Make a list longer or shorter."""
    values = table[name].to_pylist()
    held = values[int(rng.integers(len(values)))]
    if isinstance(held, list) and held:
        held.append(held[0]) if rng.random() < 0.5 else held.pop()
    return _put(table, name, pa.array(values, table[name].type))


def _kind(rng: np.random.Generator, table: pa.Table, name: str) -> pa.Table:
    kind = KINDS[rng.integers(len(KINDS))]
    if pa.types.is_list(table[name].type):
        return _put(table, name, pa.array(table[name].to_pylist(), pa.list_(kind)))
    return _put(table, name, table[name].cast(kind) if rng.random() < 0.7 else table[name].dictionary_encode())


def _remove(_: np.random.Generator, table: pa.Table, name: str) -> pa.Table:
    return table.drop_columns([name])


def _rename(rng: np.random.Generator, table: pa.Table, name: str) -> pa.Table:
    known = [*GENES, *CELLS, *COUNTS, "genes", "expressions", "token_id", name.upper()]
    other = known[rng.integers(len(known))]
    return table.rename_columns([other if held == name else held for held in table.column_names])


def _rows(rng: np.random.Generator, table: pa.Table, _: str) -> pa.Table:
    """Repeat, drop or swap rows."""
    places = np.arange(table.num_rows)
    at, other = rng.integers(len(places), size=2)
    how = rng.integers(4)
    if how == 0:
        places = np.insert(places, at, other)
    elif how == 1:
        places = np.delete(places, at)
    elif how == 2:
        places[[at, other]] = places[[other, at]]
    else:
        places = places[:0]
    return table.take(pa.array(places))


CHANGES = [_value, _value, _value, _length, _kind, _kind, _remove, _rename, _rows, _rows]


def read_parquet(path: Path, place: str) -> tuple[np.ndarray, list[str], pd.DataFrame]:
    """Return counts of genes by cells, ids of genes and columns of cells, row by row in Python."""
    table = pq.ParquetFile(path).read()
    count = place.removeprefix("column ").strip("'")
    listed = pa.types.is_list(table[count].type)
    rows = table.to_pylist()
    if listed:
        cells, of_cells = list(range(len(rows))), rows
        entries = [(cell, *entry) for cell in cells for entry in _entries(rows[cell], "genes", count)]
    else:
        gene, cell_name = (next(name for name in known if name in table.column_names) for known in (GENES, CELLS))
        of_cells = list({row[cell_name]: row for row in reversed(rows)}.values())[::-1]
        numbers = {row[cell_name]: number for number, row in enumerate(of_cells)}
        entries = [(numbers[row[cell_name]], row[gene], row[count]) for row in rows]
        begun = [row[cell_name] for before, row in zip([{}, *rows], rows, strict=False)
                 if before.get(cell_name, ...) != row[cell_name]]  # fmt: skip
        if len(begun) != len(of_cells):
            message = "the rows of a cell do not follow each other"
            raise ValueError(message)
    beside = path.with_name("gene_metadata.parquet")
    if listed and beside.exists() and pa.types.is_integer(table["genes"].type.value_type):
        known = pq.ParquetFile(beside).read().to_pylist()
        by_number = {row["token_id"]: place for place, row in enumerate(known)}
        ids, taken = ["" if row["ensembl_id"] is None else str(row["ensembl_id"]) for row in known], by_number
        entries = _without_markers(entries, by_number)
    else:
        genes = sorted({gene for _, gene, _ in entries})
        ids, taken = [str(gene) for gene in genes], {gene: place for place, gene in enumerate(genes)}
    counts = np.zeros((len(ids), len(of_cells)))
    for cell, gene, value in entries:
        counts[taken[gene], cell] += float(value)
    return counts, ids, pd.DataFrame(of_cells)


def _entries(row: dict[str, Any], genes: str, count: str) -> list[tuple[Any, Any]]:
    return list(zip(row[genes], row[count], strict=True))


def _without_markers(entries: list[tuple[int, Any, Any]], known: dict[Any, int]) -> list[tuple[int, Any, Any]]:
    """Leave out the first entries of cells that are Tahoe's marker, unless its number is a gene's."""
    if MARKER[0] in known:
        return entries
    before = [None, *(cell for cell, _, _ in entries)]
    return [
        (cell, gene, value)
        for previous, (cell, gene, value) in zip(before, entries, strict=False)
        if previous == cell or (gene, value) != MARKER
    ]
