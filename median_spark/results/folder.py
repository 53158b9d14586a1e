"""Writing a result folder whole, and reading it back."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import OutputError, TableError, listed
from median_spark.expression import FailureRecord, SourceRecord
from median_spark.results.medians import GeneDigests, digest_table
from median_spark.results.pickles import published_pickles
from median_spark.results.summary import ResultSummary, summarise

RESULT_FORMAT_VERSION = 1
"""Of a result folder."""

_SUMMARY = "summary.json"


def check_result_target(location: str, *, overwrite: bool) -> None:
    """Refuse a folder that cannot take a result; writes nothing.

    Parameters
    ----------
    location : str
        Canonical path or URI.
    overwrite : bool
        Whether a result that lies there may be replaced.

    Raises
    ------
    OutputError
        If it is a file, holds something other than a result, or holds a result that may not be replaced.
    """
    found = storage.kind(location)
    if found == "file":
        message = f"{location}: this is a file; a result needs a folder"
        raise OutputError(message)
    held = [name for name in storage.names_in(location) if name != "lock"]
    if held and not {_SUMMARY, "medians.parquet"} <= set(held):
        message = (
            f"{location}: this folder holds something else than a result ({listed(held, 3)}): "
            "choose an empty or new one"
        )
        raise OutputError(message)
    if held and not overwrite:
        message = f"{location}: there is a result already; replace it with --overwrite, or choose another folder"
        raise OutputError(message)


def write_result(
    location: str,
    table: pa.Table,
    merged: GeneDigests,
    records: Sequence[SourceRecord],
    failures: Sequence[FailureRecord],
    provenance: dict[str, Any],
) -> ResultSummary:
    """Write all files of a result; the folder holds the old content or the new one, never a mixture.

    Parameters
    ----------
    location : str
        Canonical path or URI of the folder.
    table : pyarrow.Table
        The median table.
    merged : GeneDigests
        The digests of the same genes.
    records, failures : sequences
        The sources that went in, and those that could not be converted.
    provenance : dict
        What ran and what was read.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    from median_spark.results.plots import detection_histogram  # scipy and matplotlib take seconds to import

    summary = summarise(table, records, failures, merged.compression)
    staging = Path(storage.new_folder_for(location))
    try:
        carried = {"median_spark": json.dumps({"format_version": RESULT_FORMAT_VERSION, **provenance})}
        pq.write_table(table.replace_schema_metadata(carried), staging / "medians.parquet")
        _write_csv(table, staging / "medians.csv")
        digests = digest_table(merged).replace_schema_metadata(carried)
        pq.write_table(digests, staging / "digests.parquet", compression="zstd")
        for name, content in published_pickles(merged, table).items():
            (staging / name).write_bytes(content)
        plot = detection_histogram(table["n_cells"].to_numpy(), records[0].parameters["gene_types"])
        (staging / "detection_counts.png").write_bytes(plot)
        _write_json(staging / "provenance.json", {"format_version": RESULT_FORMAT_VERSION, **provenance})
        _write_json(staging / _SUMMARY, {"format_version": RESULT_FORMAT_VERSION, **summary.as_json()})
        storage.publish(str(staging), location)
    except OSError as error:
        message = f"{location}: the result cannot be written ({error})"
        raise OutputError(message) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return summary


def read_summary(location: str) -> dict[str, Any]:
    """Return a result's summary.

    Raises
    ------
    TableError
        If there is no result, or it is damaged or of another format version.
    """
    path = storage.join(storage.canonical(location), _SUMMARY)
    if storage.stat(path) is None:
        message = f"{location}: this is no result folder: it has no {_SUMMARY}"
        raise TableError(message)
    found = _read_document(path)
    if found.get("format_version") != RESULT_FORMAT_VERSION:
        message = (
            f"{location}: this result has format version {found.get('format_version')}; "
            f"this version of median_spark reads {RESULT_FORMAT_VERSION}"
        )
        raise TableError(message)
    return found


def read_provenance(location: str) -> dict[str, Any]:
    """Return a result's provenance.

    Raises
    ------
    TableError
        If it is missing or damaged.
    """
    return _read_document(storage.join(storage.canonical(location), "provenance.json"))


def _read_document(location: str) -> dict[str, Any]:
    try:
        found = json.loads(storage.read_bytes(location))
    except (OSError, ValueError) as error:
        message = f"{location}: this document cannot be read ({error})"
        raise TableError(message) from error
    if not isinstance(found, dict):
        message = f"{location}: this document is damaged: it holds no fields"
        raise TableError(message)
    return found


def _write_csv(table: pa.Table, path: Path) -> None:
    """Write with the fewest digits that read back to the same float64; an undetected gene's fields are empty."""
    table.to_pandas().to_csv(path, index=False, lineterminator="\n")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
