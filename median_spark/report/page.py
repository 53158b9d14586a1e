"""The page itself: sections and figures put into the template, as one file that needs nothing else."""

import json
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from median_spark import storage
from median_spark.genes import GeneTable
from median_spark.report import texts
from median_spark.report.comparison import MANY_CELLS, Comparison, FloatArray, compare
from median_spark.report.corpus import MOST_LISTED, corpus_overview
from median_spark.report.figures import LEVELS, Histogram, embedded, log_histogram, quantile_codes, quantiles
from median_spark.report.groups import GeneAcrossGroups, across_groups, compared_groups
from median_spark.report.other_medians import read_medians
from median_spark.report.sections import (
    FEW_CELLS,
    Genes,
    by_decade,
    extremes,
    genes_of,
    key_figures,
    short_name,
)
from median_spark.report.stability import StabilitySection, stability_section
from median_spark.results import NO_VALUE, Result, StabilityFigures, find_result, layout, read_result

_DETECTION_BINS = 4  # per decade of cells
_MEDIAN_BINS = 12  # per decade of counts


def write_report(
    result: str, out: str | None = None, *, compare: Sequence[str] = (), gene_table: GeneTable | None = None
) -> str:
    """Write the report page of a result.

    Parameters
    ----------
    result : str
        Path or URI of a result folder, or of a run's folder that holds one.
    out : str, optional
        Location of the HTML file; by default ``report.html`` in the result folder. An older one is replaced.
    compare : sequence of str
        Medians to compare with: dictionaries as ``.pkl``, tables as ``.csv``, or result folders.
    gene_table : GeneTable, optional
        Gene names that the page shows.

    Returns
    -------
    str
        Location of the page.

    Raises
    ------
    TableError
        If there is no result, or it is damaged.
    InputError
        If something to compare with cannot be read.
    OutputError
        If the page cannot be written.

    Examples
    --------
    >>> import median_spark
    >>> page = median_spark.write_report("result")
    >>> page.endswith("report.html")
    True
    """
    folder = find_result(result)
    target = storage.canonical(out) if out is not None else storage.join(folder, layout.REPORT)
    storage.write_bytes(target, report_page(read_result(folder), gene_table, compare))
    return target


def report_page(result: Result, gene_table: GeneTable | None = None, compare_with: Sequence[str] = ()) -> bytes:
    """Return the page as UTF-8 HTML, with names of a gene table and comparisons with medians at other locations.

    Raises InputError if something to compare with cannot be read.
    """
    genes = genes_of(result, gene_table.gene_names if gene_table else {})
    comparisons = [compare(genes.ids, genes.median, genes.n_cells, read_medians(other)) for other in compare_with]
    summary, detected = result.summary, genes.n_cells > 0
    known = genes.median[~np.isnan(genes.median)]
    undetected = int(np.sum(~detected))
    detection = log_histogram(genes.n_cells[detected], _DETECTION_BINS)
    medians = log_histogram(genes.median[genes.median > 0], _MEDIAN_BINS)
    groups = compared_groups(result.groups) if result.groups is not None else None
    across = across_groups(result, groups, genes.ids, int(np.sum(detected))) if groups else None
    stable = stability_section(result.stability, genes.ids, genes.n_cells) if result.stability is not None else None
    page = (
        _environment()
        .get_template("page.html")
        .render(
            location=result.location,
            summary=summary,
            provenance=result.provenance,
            name="/".join(PurePosixPath(result.location).parts[-2:]),
            figures=key_figures(summary),
            corpus=corpus_overview(result.provenance),
            few_cells=summary.cells_passed is not None and summary.cells_passed < FEW_CELLS,
            undetected=undetected,
            detection_rows=by_decade(detection),
            median_rows=by_decade(medians),
            genes=genes,
            quartiles=np.percentile(known, [25, 50, 75]).tolist() if len(known) else None,
            extremes=extremes(genes),
            errors=_error_figures(genes.error[~np.isnan(genes.error)]),
            comparisons=[(short_name(comparison.other), comparison) for comparison in comparisons],
            groups=groups,
            across=across,
            stability=stable,
            has_names=any(genes.names),
            data=_embedded_json(_data(result, genes, undetected, detection, medians, comparisons, across, stable)),
        )
    )
    # A file's name may hold bytes that are not UTF-8, and so stand for nothing that could be shown.
    return page.encode("utf-8", "replace")


def _data(
    result: Result,
    genes: Genes,
    undetected: int,
    detection: Histogram,
    medians: Histogram,
    comparisons: Sequence[Comparison],
    across: GeneAcrossGroups | None,
    stable: StabilitySection | None,
) -> dict[str, Any]:
    """Return what the page's script draws from."""
    codes = quantile_codes(np.maximum(quantiles(result.digests), np.finfo(np.float64).tiny))
    merge = result.provenance.merge
    return {
        "genes": genes.ids,
        "names": genes.names if any(genes.names) else None,
        "median": embedded(genes.median),
        "cells": embedded(genes.n_cells.astype(np.float64)),
        "sources": embedded(genes.n_sources.astype(np.uint32)),
        "error": embedded(genes.error.astype(np.float32)) if not np.isnan(genes.error).all() else None,
        "digests": {"low": codes.low, "step": codes.step, "levels": LEVELS.tolist(), "codes": embedded(codes.codes)},
        "targetSum": result.summary.target_sum,
        "leastSources": merge is not None and merge.n_sources_are_lower_bounds,
        "detection": {"undetected": undetected, **_drawn(detection)},
        "medians": _drawn(medians),
        "comparisons": [
            {"name": short_name(comparison.other), "there": embedded(comparison.there.astype(np.float32))}
            for comparison in comparisons
        ],
        "manyCells": MANY_CELLS,
        "groups": _drawn_groups(across) if across else None,
        "stability": _drawn_stability(stable.figures, stable.halves) if stable and stable.figures else None,
    }


def _drawn(histogram: Histogram) -> dict[str, list[float]]:
    return {"edges": histogram.edges.tolist(), "counts": histogram.counts.tolist()}


def _drawn_groups(across: GeneAcrossGroups) -> dict[str, Any]:
    """Return medians in steps of a logarithmic scale, and numbers of cells in eighths of powers of two, by gene."""
    detected = across.n_cells > 0
    codes = quantile_codes(np.maximum(across.median[detected], np.finfo(np.float64).tiny))
    medians, cells = np.zeros(detected.shape, dtype=np.uint16), np.zeros(detected.shape, dtype=np.uint8)
    medians[detected] = codes.codes
    cells[detected] = 1 + np.rint(8 * np.log2(across.n_cells[detected])).astype(np.uint8)
    return {
        "labels": [group.label for group in across.groups],
        "low": codes.low,
        "step": codes.step,
        "medians": embedded(medians),
        "cells": embedded(cells),
    }


def _drawn_stability(figures: StabilityFigures, halves: FloatArray) -> dict[str, Any]:
    """Return the curve, with nulls where a change is not known, and every gene's change with half of the sources."""
    shares, half, most = (
        [each if math.isfinite(each) else None for each in row] for row in zip(*figures.curve, strict=True)
    )
    return {"shares": shares, "half": half, "most": most, "halves": embedded(halves.astype(np.float32))}


def _error_figures(errors: FloatArray) -> dict[str, float] | None:
    if not len(errors):
        return None
    p99, worst = float(np.percentile(errors, 99)), float(errors.max())
    return {"none": float(np.mean(errors == 0)), "p99": p99, "worst": worst}


def _embedded_json(content: object) -> Markup:
    """Return JSON that no text in it can break out of its script element with."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # the three signs that mean something to HTML are gone


@cache
def _environment() -> Environment:
    """Return the templates: HTML that escapes what is put into it, and the style and scripts as they are."""
    folder = files("median_spark.report")
    templates = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "tables.html")}
    environment = Environment(
        loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in (
        "whole",
        "value",
        "plain",
        "setting",
        "breakable",
        "percent",
        "change",
        "factor",
        "share",
        "byte_size",
    ):
        environment.filters[name] = getattr(texts, name)
    environment.globals.update(most_listed=MOST_LISTED, many_cells=MANY_CELLS, infinity=math.inf, no_value=NO_VALUE)
    for name in ("page.css", "drawing.js", "genes.js", "page.js"):
        environment.globals[name.replace(".", "_")] = Markup((folder / name).read_text(encoding="utf-8"))
    return environment
