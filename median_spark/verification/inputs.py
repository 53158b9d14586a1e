"""Comparing the expression table with the matrices that it was converted from."""

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark import storage
from median_spark.errors import InputError, counted
from median_spark.guard import beat, read_guarded
from median_spark.verification.cells import Cells, queried
from median_spark.verification.h5ads import H5ad
from median_spark.verification.inside import DamagedError, OutsideError, holds_in_file
from median_spark.verification.kept import Columns, check_columns, matrix_columns, wanted_attributes
from median_spark.verification.looms import Loom
from median_spark.verification.naming import Naming
from median_spark.verification.outcome import Verification
from median_spark.verification.parquets import Parquet
from median_spark.verification.somas import Soma
from median_spark.verification.stored import StoredSource
from median_spark.verification.tenxs import Tenx, is_tenx
from median_spark.verification.triples import Triples, beside

if TYPE_CHECKING:
    from median_spark.verification.zarrs import Collection

    Matrix = H5ad | Loom | Tenx | Triples | Parquet | Soma | Collection


Rows = list[tuple[str, list[str], npt.NDArray[np.float64]]]
"""Gene, ids of cells and values."""


def check_inputs(
    done: Verification,
    sources: list[StoredSource],
    namings: list[Naming],
    lists: Cells,
    genes: list[str],
    rng: np.random.Generator,
    rows: int,
) -> None:
    """Compare so many rows, a gene in a source, with the matrix they were read from; namings are in sources' order."""
    looked_at, columns, half = 0, 0, -(-rows // 2)
    picks = sorted(
        zip(rng.integers(len(sources), size=half).tolist(), rng.integers(len(genes), size=half).tolist(), strict=True)
    )
    for number in sorted({source for source, _ in picks}):
        source = sources[number]
        wanted = [genes[gene] for picked, gene in picks if picked == number]
        recorded = source.record["input"]
        path, now = recorded["path"], _state(recorded["path"])
        if now is None or (now.size, now.mtime_ns) != (recorded["size"], recorded["mtime_ns"]):
            state = "is not there any more" if now is None else "has changed since it was converted"
            done.differences.append(f"source '{source.name}': {path} {state}")
            continue
        # Some of the wanted genes are not in the source; some that are in it are looked at beside them.
        stored = source.rows(genes, ["gene"]).column("gene").unique().to_pylist()
        if stored:
            wanted += rng.choice(np.array(stored), min(len(stored), len(wanted)), replace=False).tolist()
        listed = lists.of_source(source.name)
        attributes = wanted_attributes(source.record, rng)
        rows_read, kept = read_guarded(
            path, _matrix_rows, source.record, namings[number], listed, sorted(set(wanted)), attributes
        )
        columns += check_columns(done, source, kept)
        for gene, cells, values in rows_read:
            _check_row(done, source, gene, cells, values)
            looked_at += 1
    done.compared.append(f"values and cells against the matrices: {counted(looked_at, 'row')} of a gene in a source")
    if columns:
        done.compared.append(f"what is kept of cells against the matrices: {counted(columns, 'column')} of a source")


def _check_row(
    done: Verification, source: StoredSource, gene: str, cells: list[str], values: npt.NDArray[np.float64]
) -> None:
    stored = source.rows([gene], ["gene", "cell", "value"])
    place = f"source '{source.name}', gene {gene}"
    if len(stored) != len(values):
        done.check(place, "number of values", len(stored), len(values))
    elif len(values) and (
        stored["cell"].to_pylist() != cells or not np.array_equal(stored["value"].to_numpy(), values)
    ):
        done.differences.append(f"{place}: cells or values differ from those in {source.record['input']['path']}")


def _matrix_rows(
    record: dict[str, Any], naming: Naming, listed: set[str] | None, genes: list[str], attributes: list[str]
) -> tuple[Rows, Columns]:
    """Return gene, cell ids and values of some genes, recomputed, and attributes of the cells that pass.

    Damaged files may hang or crash this.
    """
    location = record["input"]["path"]
    try:
        with contextlib.ExitStack() as closing:
            return _rows_of(_opened(record, closing), record, naming, listed, genes, attributes)
    except (OutsideError, DamagedError) as error:
        message = f"{location}: {error}"
        raise InputError(message) from error


def _opened(record: dict[str, Any], closing: contextlib.ExitStack) -> "Matrix":
    """Open a matrix by its format; what must be closed after it is left to `closing`."""
    location, parameters = record["input"]["path"], record["parameters"]
    layer, name = parameters.get("layer", "auto"), location.lower().removesuffix(".gz")
    if storage.kind(location) == "folder":
        if "__tiledb_group.tdb" not in storage.names_in(location):
            from median_spark.verification.zarrs import open_zarr  # zarr is an extra

            return open_zarr(location, layer)
        experiment = Soma(location, layer)
        closing.callback(experiment.close)
        return experiment
    if name.endswith(".parquet"):
        table = Parquet(location, layer, parameters["names"])
        closing.callback(table.close)
        return table
    if name.endswith(".mtx"):
        return Triples(location)
    stream = closing.enter_context(storage.open_random(location))
    file = closing.enter_context(h5py.File(stream, "r"))
    if name.endswith(".h5") and is_tenx(file):
        return Tenx(file, layer)
    return H5ad(file, layer) if holds_in_file(file, "obs") else Loom(file, layer)


def _state(location: str) -> storage.FileStat | None:
    """Return the size and last change of a matrix's files, None if they are not there."""
    file = storage.stat(location)
    if file is None:
        return storage.folder_stat(location)
    if not location.lower().removesuffix(".gz").endswith(".mtx"):
        return file
    try:
        others = [storage.stat(path) for path in beside(location)]
    except DamagedError:
        return None
    return storage.joint_stat(location, [file, *(other for other in others if other is not None)])


def _rows_of(
    matrix: "Matrix",
    record: dict[str, Any],
    naming: Naming,
    listed: set[str] | None,
    genes: list[str],
    attributes: list[str],
) -> tuple[Rows, Columns]:
    parameters, names = record["parameters"], record["parameters"]["names"]
    chosen = [naming.gene(name) for name in matrix.ids(names["gene_id"])]
    types = matrix.types(names["gene_type"])
    if types is not None:
        chosen = [gene if kind in parameters["gene_types"] else None for gene, kind in zip(chosen, types, strict=True)]
    passed = np.ones(matrix.cells, dtype=np.bool_)
    if parameters["cell_filter"]:
        passed = _passed(matrix, names["filter_pass"], parameters.get("filter_values"))
    n_counts = matrix.totals() if parameters["compute_n_counts"] else matrix.numbers(names["n_counts"])
    n_counts, cells = n_counts.astype(np.float64), matrix.cell_ids(names["cell_id"])
    if parameters.get("cells"):
        passed &= queried(matrix, parameters["cells"], cells)
    if listed is not None:
        passed &= np.array([cell in listed for cell in cells.tolist()], dtype=np.bool_)
    wanted = set(genes)
    rows = np.array([row for row, gene in enumerate(chosen) if gene in wanted], dtype=np.int64)
    counts = matrix.counts(rows)
    read = []
    for gene in genes:
        beat()
        columns = [place for place, row in enumerate(rows) if chosen[row] == gene]
        summed = np.asarray(counts[:, columns].sum(axis=1)).ravel()
        taken = np.flatnonzero(passed & (summed > 0))
        values = summed[taken] / n_counts[taken] * parameters["target_sum"]
        read.append((gene, cells[taken].tolist(), values))
    return read, matrix_columns(matrix, attributes, cells, n_counts, passed)


def _passed(matrix: "Matrix", name: str, wanted: list[str] | None) -> npt.NDArray[np.bool_]:
    """Return which cells pass: those with 1 or True, or with one of the values that were chosen."""
    if not wanted:
        return np.asarray(matrix.numbers(name) == 1)
    return np.array([_is_among(value, wanted) for value in matrix.labels(name)], dtype=np.bool_)


def _is_among(value: Any, wanted: list[str]) -> bool:
    if value is None or isinstance(value, str):
        return value in wanted
    value = int(value) if isinstance(value, np.bool_) else value
    for text in wanted:
        plain = {"true": "1", "false": "0"}.get(text.strip().lower(), text)
        try:
            number: float = int(plain) if plain.strip().lstrip("+-").isdecimal() else float(plain)
        except ValueError:
            continue
        if isinstance(number, int) and abs(number) > sys.float_info.max:  # no file holds it
            continue
        # A float32 of 0.1 is not Python's 0.1: a chosen number is rounded as the stored one was.
        with np.errstate(over="ignore"):
            if value == (type(value)(number) if isinstance(value, np.floating) else number):
                return True
    return False
