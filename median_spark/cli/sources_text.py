"""What is printed about the sources of a result: whether they go together, and which of them stand apart."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import counted
from median_spark.results import ResultSummary
from median_spark.results.sources import LEAST_CELLS, LEAST_GENES, LEAST_SOURCES

_SHOWN_SOURCES = 10
_NAME_WIDTH = 40


def sources_text(summary: ResultSummary, result: str, *, by_source: bool) -> list[str]:
    """Return lines about the sources: those that stand apart and a warning, or how to learn whether any does.

    Parameters
    ----------
    summary : ResultSummary
        Of the result.
    result : str
        Its folder.
    by_source : bool
        Whether the sources were compared.
    """
    if not by_source:
        several = summary.sources is not None and summary.sources > 1
        return ["hint: --by-source shows whether these sources go together"] if several else []
    content = storage.read_buffer(storage.join(storage.canonical(result), "sources.parquet"))
    sources = pq.read_table(pa.BufferReader(content)).to_pylist()
    ratios = [row["ratio"] for row in sources if row["ratio"] is not None]
    if summary.sources_apart is None:
        return [
            f"no verdict on whether the sources go together: it takes at least {LEAST_SOURCES} that have {LEAST_GENES} "
            f"genes with a value in {LEAST_CELLS} cells; here are {len(ratios):,}"
        ]
    span = (
        f"a gene's median in a source over its median in the corpus is typically between {min(ratios):.3g} and "
        f"{max(ratios):.3g}"
    )
    apart = sorted((row for row in sources if row["apart"]), key=lambda row: (-row["factor_apart"], row["source"]))
    if not apart:
        return [f"the sources go together: none stands apart; {span}"]
    return [*_table(apart), *_warning(apart, len(ratios), span)]


def _table(apart: list[dict[str, Any]]) -> list[str]:
    head = (
        f"{'stands apart':<{_NAME_WIDTH}}{'ratio':>8}{'apart by':>10}{'counts a cell':>15}{'genes a cell':>14}"
        f"   leaving it out changes medians by"
    )
    lines = [head]
    for row in apart[:_SHOWN_SOURCES]:
        name = row["source"]
        name = name if len(name) < _NAME_WIDTH else f"…{name[-_NAME_WIDTH + 2 :]}"
        depth = "unknown" if row["median_n_counts"] is None else f"{row['median_n_counts']:,.0f}"
        lines.append(
            f"{name:<{_NAME_WIDTH}}{row['ratio']:>8.3g}{row['factor_apart']:>9.3g}×{depth:>15}"
            f"{row['values_per_cell']:>14,.0f}   {_change(row)}"
        )
    if len(apart) > _SHOWN_SOURCES:
        lines.append(f"… and {len(apart) - _SHOWN_SOURCES:,} more in sources.csv")
    return lines


def _change(row: dict[str, Any]) -> str:
    if row["without_typical_change"] is None:
        return "not tried"
    return (
        f"{row['without_typical_change']:.1%} typically, {row['without_p95_change']:.1%} at the 95th percentile; "
        f"{counted(row['without_genes_changed'], 'gene')} by more than 10%"
    )


def _warning(apart: list[dict[str, Any]], compared: int, span: str) -> list[str]:
    untried = sum(row["without_typical_change"] is None for row in apart)
    verb = "stands" if len(apart) == 1 else "stand"
    lines = [
        f"warning: {len(apart):,} of {counted(compared, 'source')} {verb} apart: {span}. Plate-based studies among "
        "droplet-based ones do so, and the other way round, and very deep or shallow ones; the published advice is not "
        "to mix such platforms when a factor is computed"
    ]
    if 4 * len(apart) > compared:
        lines.append("warning: more than a quarter of the sources: this corpus has no common scale")
    if untried:
        lines.append(f"note: {counted(untried, 'source')} that stand{'s' if untried == 1 else ''} apart less far "
                     f"{'was' if untried == 1 else 'were'} not left out in turn")  # fmt: skip
    return lines
