"""Recomputing a sample of a result independently: Parquet with pyarrow, matrices with plain h5py, medians with numpy.

Shares no code with reading, digesting or refining, and must not: what it checks would then check itself.
"""

import csv
import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError, counted

_SHOWN = 20

_FORMAT_VERSION = 1
"""Of the documents that are read here, told by itself: nothing is imported from what wrote them."""


@dataclass
class Verification:
    """What was compared, and what differed.

    Attributes
    ----------
    compared : list of str
        A sentence for each thing that was looked at.
    differences : list of str
        A sentence for each difference.
    """

    compared: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def check(self, place: str, what: str, found: object, expected: object) -> None:
        """Note a difference unless two findings are equal, bit for bit; NaN equals NaN, and None."""
        if found != expected and not (_missing(found) and _missing(expected)):
            self.differences.append(f"{place}: {what} is {found!r}, recomputed {expected!r}")

    def text(self) -> str:
        """Return all of it for people, the first differences only."""
        lines = [*self.compared]
        shown = self.differences[:_SHOWN]
        lines += [f"DIFFERENT: {difference}" for difference in shown]
        if len(self.differences) > len(shown):
            lines.append(f"… and {len(self.differences) - len(shown):,} more differences")
        lines.append("all equal" if not self.differences else f"{counted(len(self.differences), 'difference')} found")
        return "\n".join(lines)


def verify(
    expression: str, result: str, *, genes: int = 100, seed: int = 0, inputs: bool = False, rows: int = 50
) -> Verification:
    """Recompute a random sample of a result from its expression table and, if told, from the matrices.

    Parameters
    ----------
    expression : str
        Path or URI of the expression table.
    result : str
        Path or URI of the result folder.
    genes : int
        Genes to recompute.
    seed : int
        Of the random choice.
    inputs : bool
        Whether values are also compared with the matrices they were read from.
    rows : int
        Rows (a gene in a source) to compare with the matrices.

    Returns
    -------
    Verification
        Without differences if the result holds.

    Raises
    ------
    TableError
        If the result or the table cannot be read, or the table is not the one that the result was made from.
    """
    expression, result = storage.canonical(expression), storage.canonical(result)
    done = Verification()
    rng = np.random.default_rng(seed)
    provenance = _document(result, "provenance.json")
    medians = pq.read_table(pa.BufferReader(_read(result, "medians.parquet")))
    sources = [_Source(expression, found) for found in provenance["sources"]]
    _check_files(done, result, medians)
    _check_totals(done, sources, medians)
    chosen = np.sort(rng.choice(len(medians), min(genes, len(medians)), replace=False))
    _check_genes(done, sources, medians.take(chosen), exact=provenance["parameters"]["exact"])
    if inputs:
        _check_inputs(done, sources, medians["gene"].to_pylist(), rng, rows)
    return done


class _Source:
    """One source of a result: its record, read as plain JSON, and its parts."""

    def __init__(self, expression: str, told: dict[str, Any]) -> None:
        self.name: str = told["source"]
        encoded = quote(self.name, safe="")
        if storage.stat(storage.join(expression, "sources", f"{encoded}.json")) is None:
            message = (
                f"{expression}: this table has no source '{self.name}', from which the result was made: "
                "name the table that belongs to the result, or compute the medians again"
            )
            raise TableError(message)
        found = _document(expression, f"sources/{encoded}.json")
        if found["conversion"] != told["conversion"]:
            message = (
                f"{expression}: source '{self.name}' has been converted anew since the result was made: "
                "compute the medians again"
            )
            raise TableError(message)
        self.record: dict[str, Any] = found
        folder = storage.join(expression, "values", f"source={encoded}")
        self.parts = [storage.join(folder, part["name"]) for part in found["parts"]]

    def rows(self, genes: list[str], columns: list[str]) -> pa.Table:
        """Return the rows of some genes, in the order they are stored."""
        if not self.parts:
            return pa.table({"gene": pa.array([], pa.string()), "value": pa.array([], pa.float64())})
        filesystem = storage.resolve(self.parts[0])[0]
        paths = [storage.resolve(part)[1] for part in self.parts]
        try:
            held = ds.dataset(paths, format="parquet", filesystem=filesystem)
            return held.to_table(columns=columns, filter=ds.field("gene").isin(genes))
        except (OSError, pa.ArrowException) as error:
            message = f"source '{self.name}': its parts cannot be read ({error})"
            raise TableError(message) from error

    def stored_rows(self) -> int:
        """Return the rows of all parts by their own footers."""
        total = 0
        for part in self.parts:
            filesystem, path = storage.resolve(part)
            try:
                total += pq.read_metadata(path, filesystem=filesystem).num_rows
            except (OSError, pa.ArrowException) as error:
                message = f"{part}: this part cannot be read ({error})"
                raise TableError(message) from error
        return total


def _check_files(done: Verification, result: str, medians: pa.Table) -> None:
    """Compare the CSV and the pickles with the table, all genes."""
    genes, values = medians["gene"].to_pylist(), medians["median"].to_pylist()
    by_csv = {row["gene"]: row for row in csv.DictReader(io.StringIO(_read(result, "medians.csv").decode()))}
    total = _plain_pickle(result, "total_gene_median_dict.pickle")
    detected = _plain_pickle(result, "detected_gene_median_dict.pickle")
    counts = _plain_pickle(result, "gene_detection_counts_dict.pickle")
    done.check("medians.csv", "the list of genes", list(by_csv), genes)
    done.check("total_gene_median_dict.pickle", "the list of genes", list(total), genes)
    for gene, median, n_cells in zip(genes, values, medians["n_cells"].to_pylist(), strict=True):
        in_csv = by_csv.get(gene, {"median": "", "n_cells": ""})
        done.check(f"medians.csv: {gene}", "median", float(in_csv["median"]) if in_csv["median"] else None, median)
        done.check(f"medians.csv: {gene}", "n_cells", in_csv["n_cells"], str(n_cells))
        done.check(f"total_gene_median_dict.pickle: {gene}", "median", total.get(gene), median)
        done.check(f"detected_gene_median_dict.pickle: {gene}", "median", detected.get(gene), median)
        done.check(f"gene_detection_counts_dict.pickle: {gene}", "count", counts.get(gene), n_cells)
    done.compared.append(f"the CSV and three pickles against medians.parquet: {counted(len(genes), 'gene')}")


def _check_totals(done: Verification, sources: list[_Source], medians: pa.Table) -> None:
    """Compare how many values there are by the parts, by the records and by the medians."""
    told = 0
    for source in sources:
        done.check(
            f"source '{source.name}'", "number of values recorded", source.record["values"], source.stored_rows()
        )
        told += source.record["values"]
    done.check("medians.parquet", "the sum of n_cells", int(np.sum(medians["n_cells"].to_numpy())), told)
    done.compared.append(f"the number of values of {counted(len(sources), 'source')} and of the result: {told:,}")


def _check_genes(done: Verification, sources: list[_Source], medians: pa.Table, *, exact: bool) -> None:
    """Recompute everything of some genes that does not come from a digest."""
    genes = medians["gene"].to_pylist()
    runs: dict[str, list[npt.NDArray[np.float64]]] = {gene: [] for gene in genes}
    for source in sources:
        found = source.rows(genes, ["gene", "value"]).to_pandas()
        for gene, part in found.groupby("gene", observed=True)["value"]:
            runs[str(gene)].append(part.to_numpy())
    values_read = 0
    for row in medians.to_pylist():
        place, parts = f"gene {row['gene']}", runs[row["gene"]]
        values = np.concatenate([np.zeros(0), *parts])
        values_read += len(values)
        done.check(place, "n_cells", row["n_cells"], len(values))
        done.check(place, "n_sources", row["n_sources"], len(parts))
        done.check(place, "min", row["min"], float(values.min()) if len(values) else None)
        done.check(place, "max", row["max"], float(values.max()) if len(values) else None)
        if exact:
            done.check(place, "median", row["median"], float(np.median(values)) if len(values) else None)
            if len(values):
                done.check(
                    place, "digest_rank_error", row["digest_rank_error"], _rank_error(values, row["digest_median"])
                )
        elif len(values) and _rank_error(values, row["median"]) > 0.05:
            done.differences.append(
                f"{place}: the digest's median {row['median']!r} is off by more than 5 % of the ranks"
            )
    kind = "exact medians" if exact else "digest medians (to within 5 % of the ranks)"
    done.compared.append(
        f"n_cells, n_sources, min, max and {kind} from the Parquet parts: {counted(len(genes), 'gene')}, "
        f"{counted(values_read, 'value')}"
    )


def _rank_error(values: npt.NDArray[np.float64], estimate: float) -> float:
    below, up_to, n = int(np.sum(values < estimate)), int(np.sum(values <= estimate)), len(values)
    if below <= n / 2 <= up_to:
        return 0.0
    return (below - n / 2 if below > n / 2 else n / 2 - up_to) / n


def _check_inputs(
    done: Verification, sources: list[_Source], genes: list[str], rng: np.random.Generator, rows: int
) -> None:
    """Compare some rows, a gene in a source, with the matrix they were read from."""
    looked_at, half = 0, -(-rows // 2)
    picks = sorted(
        zip(rng.integers(len(sources), size=half).tolist(), rng.integers(len(genes), size=half).tolist(), strict=True)
    )
    for number in sorted({source for source, _ in picks}):
        source = sources[number]
        wanted = [genes[gene] for picked, gene in picks if picked == number]
        told = source.record["input"]
        now = storage.stat(told["path"])
        if now is None or (now.size, now.mtime_ns) != (told["size"], told["mtime_ns"]):
            state = "is not there any more" if now is None else "has changed since it was converted"
            done.differences.append(f"source '{source.name}': {told['path']} {state}")
            continue
        # Some of the wanted genes are not in the source; some that are in it are looked at beside them.
        stored = source.rows(genes, ["gene"]).column("gene").unique().to_pylist()
        if stored:
            wanted += rng.choice(np.array(stored), min(len(stored), len(wanted)), replace=False).tolist()
        for gene, cells, values in _matrix_rows(source.record, sorted(set(wanted))):
            found = source.rows([gene], ["gene", "cell", "value"])
            place = f"source '{source.name}', gene {gene}"
            if len(found) != len(values):
                done.check(place, "number of values", len(found), len(values))
            elif len(values):
                same_cells = found["cell"].to_pylist() == cells
                if not same_cells or not np.array_equal(found["value"].to_numpy(), values):
                    done.differences.append(f"{place}: cells or values differ from those in {told['path']}")
            looked_at += 1
    done.compared.append(f"values and cells against the matrices: {counted(looked_at, 'row')} of a gene in a source")


def _matrix_rows(record: dict[str, Any], genes: list[str]) -> Iterator[tuple[str, list[str], npt.NDArray[np.float64]]]:
    """Yield gene, cell ids and values of some genes of a loom, computed anew."""
    parameters, names = record["parameters"], record["parameters"]["names"]
    filesystem, path = storage.resolve(record["input"]["path"])
    with filesystem.open_input_file(path) as stream, h5py.File(stream, "r") as file:
        rows, columns, matrix = file["row_attrs"], file["col_attrs"], file["matrix"]
        ids = rows[names["gene_id"]].asstr()[:]
        typed = np.ones(len(ids), dtype=np.bool_)
        if names["gene_type"] in rows:
            typed = np.isin(rows[names["gene_type"]].asstr()[:].astype(np.str_), parameters["gene_types"])
        passed = np.ones(matrix.shape[1], dtype=np.bool_)
        if parameters["cell_filter"]:
            passed = columns[names["filter_pass"]][:] == 1
        if parameters["compute_n_counts"]:
            n_counts = sum(matrix[row].astype(np.float64) for row in range(matrix.shape[0]))
        else:
            n_counts = columns[names["n_counts"]][:].astype(np.float64)
        label = names["cell_id"] or next((name for name in ("cell_id", "CellID", "obs_names") if name in columns), None)
        cells = columns[label].asstr()[:] if label else np.arange(matrix.shape[1]).astype(str)
        for gene in genes:
            counts = np.zeros(matrix.shape[1], dtype=np.float64)
            for row in np.flatnonzero((ids == gene) & typed):
                counts += matrix[row]
            taken = np.flatnonzero(passed & (counts > 0))
            yield gene, cells[taken].tolist(), counts[taken] / n_counts[taken] * parameters["target_sum"]


class _Plain(pickle.Unpickler):
    """Reads str, float, int and dict, and refuses whatever would have to be imported."""

    def find_class(self, module: str, name: str) -> Any:
        message = f"it holds {module}.{name} where only plain values may be"
        raise pickle.UnpicklingError(message)


def _plain_pickle(result: str, name: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", _Plain(io.BytesIO(_read(result, name))).load())
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        message = f"{result}: {name} cannot be read ({error})"
        raise TableError(message) from error


def _read(folder: str, name: str) -> bytes:
    location = storage.join(folder, name)
    if storage.stat(location) is None:
        message = f"{location}: there is no such file: name an expression table and the result made from it"
        raise TableError(message)
    return storage.read_bytes(location)


def _document(folder: str, name: str) -> dict[str, Any]:
    """Return a JSON document of the format version that is known here."""
    location = storage.join(folder, name)
    try:
        found = json.loads(_read(folder, name))
        version = found["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{location}: this document is damaged ({type(error).__name__}: {error})"
        raise TableError(message) from error
    if version != _FORMAT_VERSION:
        message = f"{location}: it has format version {version}; this version of median_spark reads {_FORMAT_VERSION}"
        raise TableError(message)
    return cast("dict[str, Any]", found)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
