"""The figures of a result: what went in, and how often genes are detected. The one reader and writer of their JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import pyarrow as pa

from median_spark.errors import TableError
from median_spark.expression import FailureRecord, SourceRecord
from median_spark.geneformer import DictionaryFigures

_REQUIRED = ("sources", "cells", "cells_passed", "values", "genes", "genes_detected", "median_detection_count",
             "target_sum", "medians_are")  # fmt: skip


@dataclass(frozen=True)
class CorpusFigures:
    """The figures of what went into a result; None for what is not known, as of digests that others made."""

    sources: int | None
    cells: int | None
    cells_passed: int | None
    values: int  # of the genes of the universe
    failed_sources: Sequence[FailureRecord]
    target_sum: float | None
    gene_types: tuple[str, ...]  # empty where they are not known


def figures_of(records: Sequence[SourceRecord], failures: Sequence[FailureRecord]) -> CorpusFigures:
    """Return the figures of sources of an expression table, at least one, and of those that failed."""
    return CorpusFigures(
        sources=len(records),
        cells=sum(record.cells for record in records),
        cells_passed=sum(record.cells_passed for record in records),
        values=sum(record.values for record in records),
        failed_sources=failures,
        target_sum=records[0].target_sum,
        gene_types=records[0].gene_types,
    )


@dataclass(frozen=True)
class ResultSummary:
    """The figures that the published procedure prints, and those of the corpus.

    Attributes
    ----------
    sources, cells, cells_passed : int or None
        Size of the corpus; None where digests were merged that do not record it.
    values : int
        Values of all genes of the universe.
    failed_sources : list of FailureRecord
        Source, path and reason of those that could not be converted.
    genes : int
        Genes of the universe.
    genes_detected, genes_in_more_than_100_cells, genes_in_more_than_1000_cells : int
        Genes by the number of cells with a value.
    median_detection_count : float
        Median over all genes of the universe of the number of cells with a value.
    median_detection_count_of_detected : float or None
        The same over detected genes.
    target_sum : float or None
        Counts that every cell is scaled to; None where digests were merged that do not record it.
    compression : float
        Compression of the digests.
    medians_are : str
        ``"exact"``, or ``"digest estimates"``, which are exact for genes with few values.
    worst_digest_rank_error, p99_digest_rank_error : float or None
        Distance of the digests' medians from the middle rank, over detected genes, as a fraction of a gene's values;
        None where they were not refined.
    geneformer : DictionaryFigures or None
        Figures of the dictionaries that a tokenizer loads.
    groups_apart : list of str or None
        Groups whose medians stand apart, see `median_spark.results.stand_apart`; None, and not in the JSON, where there
        are no groups or too few to tell.
    """

    sources: int | None
    cells: int | None
    cells_passed: int | None
    values: int
    failed_sources: list[FailureRecord]
    genes: int
    genes_detected: int
    genes_in_more_than_100_cells: int
    genes_in_more_than_1000_cells: int
    median_detection_count: float
    median_detection_count_of_detected: float | None
    target_sum: float | None
    compression: float
    medians_are: str
    worst_digest_rank_error: float | None
    p99_digest_rank_error: float | None
    geneformer: DictionaryFigures | None = None
    groups_apart: list[str] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON."""
        document = asdict(self) | {"failed_sources": [failure.as_json() for failure in self.failed_sources]}
        if self.groups_apart is None:
            del document["groups_apart"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any], location: str) -> Self:
        """Read a summary; in documents of older versions fields may be missing.

        Raises TableError, which names the location, if it is damaged.
        """
        missing = [name for name in _REQUIRED if name not in document]
        if missing:
            message = f"{location}: this document of a result lacks the field '{missing[0]}'"
            raise TableError(message)
        known: dict[str, Any] = {each.name: document.get(each.name) for each in fields(cls)}
        try:
            failures = document.get("failed_sources") or ()
            known["failed_sources"] = [FailureRecord.from_json(failure) for failure in failures]
            known["geneformer"] = DictionaryFigures.from_json(known["geneformer"]) if known["geneformer"] else None
        except (KeyError, TypeError, AttributeError) as error:
            message = f"{location}: this document of a result is damaged ({error})"
            raise TableError(message) from error
        return cls(**known)


def summarise(
    table: pa.Table,
    corpus: CorpusFigures,
    compression: float,
    geneformer: DictionaryFigures | None = None,
    groups_apart: list[str] | None = None,
) -> ResultSummary:
    """Return the figures of a median table over a corpus."""
    counts = table["n_cells"].to_numpy()
    detected = counts[counts > 0]
    errors = table["digest_rank_error"].drop_null().to_numpy()
    return ResultSummary(
        sources=corpus.sources,
        cells=corpus.cells,
        cells_passed=corpus.cells_passed,
        values=corpus.values,
        failed_sources=list(corpus.failed_sources),
        genes=len(counts),
        genes_detected=len(detected),
        genes_in_more_than_100_cells=int(np.sum(counts > 100)),
        genes_in_more_than_1000_cells=int(np.sum(counts > 1000)),
        median_detection_count=float(np.median(counts)),
        median_detection_count_of_detected=float(np.median(detected)) if len(detected) else None,
        target_sum=corpus.target_sum,
        compression=compression,
        medians_are="exact" if len(errors) else "digest estimates",
        worst_digest_rank_error=float(errors.max()) if len(errors) else None,
        p99_digest_rank_error=float(np.percentile(errors, 99)) if len(errors) else None,
        geneformer=geneformer,
        groups_apart=groups_apart,
    )
