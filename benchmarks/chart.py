"""The chart of time against rows, to be read on light and on dark ground."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from results import Measurements

_GREY = "#848d97"
_COLOURS = {
    "ours.medians_exact": "#e8590c",
    "ours.medians_no_exact": "#f0a35e",
    "table.duckdb_median": "#2f81d6",
    "table.duckdb_approximate": "#7db3e8",
    "table.polars_in_memory": "#2fa36b",
    "table.polars_streaming": "#7ccba2",
    "table.numpy_median": "#a371d8",
    "table.spark_approximate": "#d1477f",
    "table.spark_median": "#e58fb3",
    "table.parquet_read": _GREY,
}


def draw_chart(measured: Measurements, path: Path) -> None:
    """Draw seconds against rows, both logarithmic, a line for each way."""
    rows = {case: each["rows"] for case, each in measured.sizes["tables_written"].items()}
    settings = {"svg.fonttype": "none", "svg.hashsalt": "median_spark", "font.family": "sans-serif", "font.size": 10}
    with mpl.rc_context(
        settings | dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _GREY)
    ):
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots()
        lines = []
        for way, colour in _COLOURS.items():
            points = [(rows[each.case], each) for each in measured.of("medians") if each.way == way and each.seconds]
            if not points:
                continue
            ours = way.startswith("ours.")
            (line,) = axes.plot(
                [count for count, _ in points],
                [each.median for _, each in points],
                color=colour,
                marker="o" if ours else "s",
                markersize=5,
                linewidth=2.4 if ours else 1.5,
                linestyle=":" if way == "table.parquet_read" else "-",
                label=points[0][1].label,
            )
            lines.append(((points[-1][1].median or 0.0) / points[-1][0], line))
        axes.set(xscale="log", yscale="log", xlabel="rows of the expression table", ylabel="seconds")
        axes.set_xticks(list(rows.values()), list(rows), minor=False)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
        axes.grid(color=_GREY, alpha=0.25, linewidth=0.6)
        for side, spine in axes.spines.items():
            spine.set(color=_GREY, visible=side in ("left", "bottom"))
        handles = [line for _, line in sorted(lines, key=lambda each: -each[0])]
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
