"""Writing a result folder whole, and reading it back."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.csv_text import harmless_texts, quoting_of
from median_spark.errors import OutputError, TableError, listed
from median_spark.geneformer import GeneformerOptions, geneformer_dictionaries
from median_spark.genes import GeneMap, GeneTable
from median_spark.options import OVERWRITE
from median_spark.report import REPORT_NAME, report_page
from median_spark.results.medians import GeneDigests, digest_table
from median_spark.results.metrics import Stage, Stopwatch, metrics_csv, metrics_table
from median_spark.results.pickles import published_pickles
from median_spark.results.sources import SourceComparison
from median_spark.results.summary import CorpusFigures, ResultSummary, summarise

RESULT_FORMAT_VERSION = 1
"""Of a result folder."""

OWN_FILES = frozenset(
    {
        "medians.parquet", "medians.csv", "digests.parquet", "summary.json", "provenance.json", REPORT_NAME,
        "metrics.parquet", "metrics.csv", "detection_counts.png", "by_source.parquet", "sources.parquet", "sources.csv",
        "total_gene_tdigest_dict.pickle", "total_gene_median_dict.pickle", "detected_gene_median_dict.pickle",
        "gene_detection_counts_dict.pickle", "geneformer/gene_median_dictionary.pkl",
        "geneformer/token_dictionary.pkl", "geneformer/ensembl_mapping_dict.pkl",
    }
)  # fmt: skip
"""All files that a result may have; others in its folder are a user's and stay when it is replaced."""

_SUMMARY = "summary.json"
_DOCUMENT = "document of a result"


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
    if storage.is_local(location):
        storage.check_exchangeable(location)
    held = [name for name in storage.names_in(location) if name != "lock"]
    if storage.UNFINISHED in held:
        return  # a run was killed while it wrote a result over another
    if held and not {_SUMMARY, "medians.parquet"} <= set(held):
        message = (
            f"{location}: this folder holds something else than a result ({listed(held, 3)}): "
            "choose an empty or new one"
        )
        raise OutputError(message)
    if held and not overwrite:
        message = f"{location}: there is a result already; replace it with {OVERWRITE}, or choose another folder"
        raise OutputError(message)


def write_result(
    location: str,
    table: pa.Table,
    merged: GeneDigests,
    corpus: CorpusFigures,
    provenance: dict[str, Any],
    *,
    geneformer: GeneformerOptions | None = None,
    gene_table: GeneTable | None = None,
    gene_map: GeneMap | None = None,
    comparison: SourceComparison | None = None,
    stages: Iterable[Stage] = (),
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
    corpus : CorpusFigures
        What went in, as far as it is known.
    provenance : dict
        What ran and what was read.
    geneformer : GeneformerOptions, optional
        What is chosen about the dictionaries that a tokenizer loads.
    gene_table, gene_map : optional
        Names and other ids of the genes, for the dictionaries.
    comparison : SourceComparison, optional
        What is told about the sources, where they were compared; its file is moved into the result.
    stages : iterable of Stage
        What was done before the writing, for the metrics.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    from median_spark.results.plots import detection_histogram  # scipy and matplotlib take seconds to import

    watch = Stopwatch(stages)
    dictionaries = geneformer_dictionaries(table, geneformer, gene_table, gene_map)
    summary = summarise(table, corpus, merged.compression, dictionaries.figures)
    if comparison is not None:
        summary = replace(summary, sources_apart=comparison.apart)
    staging = Path(storage.new_folder_for(location))
    try:
        carried = {"median_spark": json.dumps({"format_version": RESULT_FORMAT_VERSION, **provenance})}
        pq.write_table(table.replace_schema_metadata(carried), staging / "medians.parquet")
        _write_csv(table, staging / "medians.csv")
        digests = digest_table(merged).replace_schema_metadata(carried)
        pq.write_table(digests, staging / "digests.parquet", compression="zstd")
        for name, content in published_pickles(merged, table).items():
            (staging / name).write_bytes(content)
        if comparison is not None:
            _write_sources(comparison, staging)
        (staging / "geneformer").mkdir()
        for name, content in dictionaries.files().items():
            (staging / "geneformer" / name).write_bytes(content)
        plot = detection_histogram(table["n_cells"].to_numpy(), corpus.gene_types)
        (staging / "detection_counts.png").write_bytes(plot)
        _write_json(staging / "provenance.json", {"format_version": RESULT_FORMAT_VERSION, **provenance})
        _write_json(staging / _SUMMARY, {"format_version": RESULT_FORMAT_VERSION, **summary.as_json()})
        names = gene_table.gene_names if gene_table else {}
        (staging / REPORT_NAME).write_bytes(report_page(str(staging), location, names))
        watch.lap("write", bytes_out=sum(file.size for file in storage.files_below(str(staging))))
        _write_metrics(metrics_table(summary, provenance, watch.stages, location), staging)
        storage.publish(str(staging), location, OWN_FILES)
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
    found = storage.read_json(path, _DOCUMENT)
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
    return storage.read_json(storage.join(storage.canonical(location), "provenance.json"), _DOCUMENT)


def _write_csv(table: pa.Table, path: Path) -> None:
    """Write with the fewest digits that read back to the same float64; an undetected gene's fields are empty."""
    frame = harmless_texts(table).to_pandas()
    frame.to_csv(path, index=False, lineterminator="\n", quoting=quoting_of(table))


def _write_sources(comparison: SourceComparison, folder: Path) -> None:
    import pandas as pd  # as `to_pandas` does, and a worker does not

    table = comparison.table
    pq.write_table(table, folder / "sources.parquet")
    whole = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}  # else a null would make floats of a column
    frame = harmless_texts(table).to_pandas(types_mapper=whole.get)
    frame.to_csv(folder / "sources.csv", index=False, lineterminator="\n", quoting=quoting_of(table))
    shutil.move(comparison.by_source, folder / "by_source.parquet")


def _write_metrics(table: pa.Table, folder: Path) -> None:
    pq.write_table(table, folder / "metrics.parquet")
    (folder / "metrics.csv").write_text(metrics_csv(table), encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
