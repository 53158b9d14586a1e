"""Writing a result folder whole."""

import base64
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.csv_text import csv_text
from median_spark.errors import OutputError, listed
from median_spark.geneformer import GeneformerDictionaries, geneformer_dictionaries
from median_spark.options import OVERWRITE
from median_spark.results import layout
from median_spark.results.groups import GroupComparison
from median_spark.results.medians import GeneDigests, digest_table
from median_spark.results.metrics import Stage, Stopwatch, metrics_table
from median_spark.results.pickles import published_pickles
from median_spark.results.provenance import Provenance
from median_spark.results.reading import Result
from median_spark.results.sources import encode_sources
from median_spark.results.summary import CorpusFigures, ResultSummary, summarise


def check_result_target(location: str, *, overwrite: bool) -> None:
    """Reject a folder, by its canonical location, that cannot take a result; writes nothing.

    Raises OutputError if it is a file, contains files other than a result's, or a result that may not be replaced.
    """
    kind = storage.kind(location)
    if kind == "file":
        message = f"{location}: this is a file; a result needs a folder"
        raise OutputError(message)
    if storage.is_local(location):
        storage.check_exchangeable(location)
    names = [name for name in storage.names_in(location) if name != "lock"]
    if storage.UNFINISHED in names:
        return  # a run was killed while it wrote a result over another
    if names and not {layout.SUMMARY, layout.MEDIANS} <= set(names):
        message = (
            f"{location}: this folder contains files other than those of a result ({listed(names, 3)}): "
            "choose an empty or new one"
        )
        raise OutputError(message)
    if names and not overwrite:
        message = f"{location}: there is a result already; replace it with {OVERWRITE}, or choose another folder"
        raise OutputError(message)


def removal_notes(location: str, *, groups: bool, stability: bool) -> list[str]:
    """Return a note about the optional files of an existing result that a new one without them removes, if any.

    Parameters
    ----------
    location
        Canonical location of the result.
    groups, stability
        True if the new result has the files of groups, and of stability.
    """
    present = storage.names_in(location)
    optional = [] if groups else [(name, "--by") for name in layout.GROUP_FILES]
    optional += [] if stability else [(layout.STABILITY, "--stability")]
    removed = [(name, option) for name, option in optional if name in present]
    if not removed:
        return []
    options = " and ".join(dict.fromkeys(option for _, option in removed))
    names = listed([name for name, _ in removed])
    return [f"note: this run without {options} removes {names} of the existing result in {location}"]


def write_result(
    location: str,
    table: pa.Table,
    merged: GeneDigests,
    corpus: CorpusFigures,
    provenance: Provenance,
    *,
    dictionaries: GeneformerDictionaries | None = None,
    comparison: GroupComparison | None = None,
    stability: pa.Table | None = None,
    stages: Iterable[Stage] = (),
    report: Callable[[Result], bytes] | None = None,
) -> ResultSummary:
    """Write all files of a result; the folder holds the old content or the new one, never a mixture.

    `dictionaries` are by default those of the median table; the file of `comparison` is moved into the result; `report`
    makes the page of the result. Raises OutputError if the folder cannot be written.
    """
    from median_spark.results.plots import detection_histogram  # matplotlib takes a second to import

    watch = Stopwatch(stages)
    dictionaries = dictionaries or geneformer_dictionaries(table)
    apart = comparison.apart if comparison else None
    summary = summarise(table, corpus, merged.compression, dictionaries.figures, apart)
    digests = digest_table(merged)
    staging = Path(storage.new_folder_for(location))
    beside = ThreadPoolExecutor(1)
    try:
        recorded, sources = _write_records(staging, provenance, summary)
        # The largest file is compressed beside the rest, which is Python's work for one core.
        carried = digests.replace_schema_metadata(recorded | sources)
        written = beside.submit(pq.write_table, carried, staging / layout.DIGESTS, compression="zstd")
        _write_table(table, staging / layout.MEDIANS, recorded)
        _write_files(staging, published_pickles(merged, table))
        _write_files(staging / layout.GENEFORMER, dictionaries.files())
        if comparison is not None:
            _write_table(comparison.table, staging / layout.GROUPS)
            shutil.move(comparison.by_group, staging / layout.BY_GROUP)
        if stability is not None:
            pq.write_table(stability, staging / layout.STABILITY, compression="zstd")
        plot = detection_histogram(table["n_cells"].to_numpy(), corpus.gene_types)
        (staging / layout.HISTOGRAM).write_bytes(plot)
        if report is not None:
            groups = comparison.table if comparison else None
            by_group = str(staging / layout.BY_GROUP) if comparison else None
            page = report(Result(location, table, digests, summary, provenance, groups, by_group, stability))
            (staging / layout.REPORT).write_bytes(page)
        written.result()
        watch.lap("write", bytes_out=sum(file.size for file in storage.files_below(str(staging))))
        metrics = metrics_table(summary, provenance, watch.stages, location)
        _write_table(metrics, staging / layout.METRICS)
        storage.publish(str(staging), location, layout.OWN_FILES)
    except OSError as error:
        message = f"{location}: the result cannot be written ({error})"
        raise OutputError(message) from error
    finally:
        beside.shutdown()
        shutil.rmtree(staging, ignore_errors=True)
    return summary


def _write_records(
    folder: Path, provenance: Provenance, summary: ResultSummary
) -> tuple[dict[str, str], dict[str, str]]:
    """Write what is recorded of a result; return the metadata of Parquet files that repeat it, and its sources."""
    stored = encode_sources(provenance.sources)
    recorded = provenance.as_json(stored)
    (folder / layout.SOURCES).write_bytes(stored.content)
    _write_json(folder / layout.PROVENANCE, recorded)
    _write_json(folder / layout.SUMMARY, summary.as_json())
    sources = base64.b64encode(stored.content).decode()
    return {"median_spark": json.dumps(_versioned(recorded))}, {layout.SOURCES_KEY: sources}


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def _write_table(table: pa.Table, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table as Parquet and, beside it, as CSV."""
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path)
    path.with_suffix(".csv").write_text(csv_text(table), encoding="utf-8", newline="")


def _versioned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"format_version": layout.RESULT_FORMAT_VERSION, **document}


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(_versioned(document), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
