"""The page itself: sections and figures put into the template, as one file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from median_spark import storage
from median_spark.errors import TableError
from median_spark.genes import GeneTable
from median_spark.report import texts
from median_spark.report.comparison import MANY_CELLS, Comparison, compare
from median_spark.report.content import ResultContent, read_result, result_folder
from median_spark.report.corpus import MOST_LISTED, Origins, origins_of
from median_spark.report.figures import LEVELS, Histogram, embedded, quantile_codes, quantiles
from median_spark.report.other_medians import read_medians
from median_spark.report.sections import (
    FEW_CELLS,
    Genes,
    by_decade,
    detection_histogram,
    extremes,
    genes_of,
    key_figures,
    median_histogram,
    short_name,
)
from median_spark.report.source_comparison import together

REPORT_NAME = "report.html"
"""Of the page in a result folder."""


def write_report(
    result: str, out: str | None = None, *, compare: Sequence[str] = (), gene_table: GeneTable | None = None
) -> str:
    """Write the report page of a result.

    Parameters
    ----------
    result : str
        Path or URI of a result folder, or of a run's folder that holds one.
    out : str, optional
        The HTML file; by default ``report.html`` in the result folder. An older one is replaced.
    compare : sequence of str
        Medians to compare with: dictionaries as ``.pkl``, tables as ``.csv``, or result folders.
    gene_table : GeneTable, optional
        Whose gene names the page shows.

    Returns
    -------
    str
        Where the page is.

    Raises
    ------
    TableError
        If there is no result, or it is damaged.
    InputError
        If something to compare with cannot be read.
    OutputError
        If the page cannot be written.
    """
    folder = result_folder(result)
    target = storage.canonical(out) if out is not None else storage.join(folder, REPORT_NAME)
    content = read_result(folder)
    storage.write_bytes(target, page_of(content, gene_table.gene_names if gene_table else {}, compare))
    return target


def report_page(folder: str, location: str, names: Mapping[str, str]) -> bytes:
    """Return the page of a result that is about to be published.

    Parameters
    ----------
    folder : str
        Where its files lie now.
    location : str
        Where they will be.
    names : mapping of str to str
        Gene names by gene.

    Raises
    ------
    TableError
        If a file is missing or damaged.
    """
    return page_of(read_result(folder, location=location), names, ())


def page_of(content: ResultContent, names: Mapping[str, str], others: Sequence[str]) -> bytes:
    """Return the page as UTF-8 HTML.

    Parameters
    ----------
    content : ResultContent
        The result.
    names : mapping of str to str
        Gene names by gene.
    others : sequence of str
        Medians to compare with.

    Raises
    ------
    InputError
        If something to compare with cannot be read.
    """
    genes = genes_of(content, names)
    comparisons = [compare(genes.ids, genes.median, genes.n_cells, read_medians(other)) for other in others]
    undetected, detection = detection_histogram(genes)
    origins = _origins(content)
    medians = median_histogram(genes)
    errors = genes.error[~np.isnan(genes.error)]
    page = (
        _environment()
        .get_template("page.html")
        .render(
            content=content,
            summary=content.summary,
            provenance=content.provenance,
            name="/".join(PurePosixPath(content.location).parts[-2:]),
            figures=key_figures(content),
            origins=origins,
            few_cells=content.summary["cells_passed"] is not None and content.summary["cells_passed"] < FEW_CELLS,
            undetected=undetected,
            detection_rows=by_decade(detection),
            median_rows=by_decade(medians),
            genes=genes,
            quartiles=_quartiles(genes),
            extremes=extremes(genes),
            errors=_error_figures(errors),
            comparisons=[(short_name(comparison), comparison) for comparison in comparisons],
            together=together(content.sources) if content.sources is not None else None,
            has_names=any(genes.names),
            target_sum=content.summary.get("target_sum"),
            data=_embedded_json(_data(content, genes, undetected, detection, medians, comparisons)),
        )
    )
    # A file's name may hold bytes that are no UTF-8, and so stand for nothing that could be shown.
    return page.encode("utf-8", "replace")


def _origins(content: ResultContent) -> Origins:
    try:
        return origins_of(content.provenance)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"{content.location}: provenance.json of this result is damaged ({type(error).__name__}: {error})"
        raise TableError(message) from error


def _data(
    content: ResultContent,
    genes: Genes,
    undetected: int,
    detection: Histogram,
    medians: Histogram,
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    """Return what the page's script draws from."""
    values = quantiles(content.digests)
    codes = quantile_codes(np.maximum(values, np.finfo(np.float64).tiny))
    return {
        "genes": genes.ids,
        "names": genes.names if any(genes.names) else None,
        "median": embedded(genes.median),
        "cells": embedded(genes.n_cells.astype(np.float64)),
        "sources": embedded(genes.n_sources.astype(np.uint32)),
        "error": embedded(genes.error.astype(np.float32)) if not np.isnan(genes.error).all() else None,
        "digests": {"low": codes.low, "step": codes.step, "levels": LEVELS.tolist(), "codes": embedded(codes.codes)},
        "targetSum": content.summary.get("target_sum"),
        "leastSources": bool(content.provenance.get("n_sources_are_lower_bounds")),
        "detection": {"undetected": undetected, **_drawn(detection)},
        "medians": _drawn(medians),
        "comparisons": [
            {"name": short_name(comparison), "there": embedded(comparison.there.astype(np.float32))}
            for comparison in comparisons
        ],
    }


def _drawn(histogram: Histogram) -> dict[str, list[float]]:
    return {"edges": histogram.edges.tolist(), "counts": histogram.counts.tolist()}


def _quartiles(genes: Genes) -> tuple[float, float, float] | None:
    """Return the quartiles of the medians over detected genes."""
    medians = genes.median[~np.isnan(genes.median)]
    if not len(medians):
        return None
    low, middle, high = np.percentile(medians, [25, 50, 75]).tolist()
    return low, middle, high


def _error_figures(errors: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float] | None:
    if not len(errors):
        return None
    return {
        "none": float(np.mean(errors == 0)),
        "median": float(np.median(errors)),
        "p99": float(np.percentile(errors, 99)),
        "worst": float(errors.max()),
    }


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
    held = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "tables.html")}
    environment = Environment(
        loader=DictLoader(held), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        whole=texts.whole,
        value=texts.value,
        plain=texts.plain,
        setting=texts.setting,
        breakable=texts.breakable,
        percent=texts.percent,
        factor=texts.factor,
        bytes=texts.byte_size,
    )
    environment.globals.update(most_listed=MOST_LISTED, many_cells=MANY_CELLS)
    for name in ("page.css", "drawing.js", "genes.js", "page.js"):
        environment.globals[name.replace(".", "_")] = Markup((folder / name).read_text(encoding="utf-8"))
    return environment
