"""The tables, of text alone: the terminal and the page show the same ones."""

from collections.abc import Callable
from dataclasses import dataclass

from results import Measurements, Result
from sizes import short
from targets import cost_per_row, format_floor, reads_small, verdicts, with_startup

_EXACT_WAYS = (
    "ours.medians_exact",
    "ours.medians_unwritten",
    "ours.medians_bundles",
    "ours.frame_exact",
    "table.duckdb_median",
    "table.polars_in_memory",
    "table.polars_streaming",
    "table.numpy_median",
    "table.spark_median",
)


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    title : str
    columns : list of str
        The first is of words, the others of figures.
    rows : list of list of str
    below : str
        Text below the table.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    below: str = ""


def tables(measured: Measurements) -> list[Table]:
    """Return all tables, that of the targets first."""
    found = [_targets(measured)]
    found += [_run(measured, case) for case in measured.cases("run")]
    found += [_loom(measured, case) for case in measured.cases("loom")]
    found += [_h5ad(measured, case) for case in measured.cases("h5ad")]
    found += [_zarr(measured, case) for case in measured.cases("zarr")]
    found += [_formats(measured, case) for case in measured.cases("formats")]
    found += [_medians(measured, case) for case in measured.cases("medians")]
    found += [_groups(measured, case) for case in measured.cases("groups")]
    found += [_bundles(measured, case) for case in measured.cases("bundles")]
    found += [_profile(measured, case) for case in measured.cases("profile")]
    found += [_rows(measured), _memory(measured), _bytes(measured)]
    return [table for table in found if table.rows]


def _targets(measured: Measurements) -> Table:
    rows = [[each.what, each.against, each.wanted, each.found, each.text] for each in verdicts(measured)]
    small = "These sizes are smaller than those that the targets were set for." if reads_small(measured) else ""
    return Table("Targets", ["", "against", "target", "found", "verdict"], rows, small)


def _run(measured: Measurements, case: str) -> Table:
    sizes = measured.sizes
    peer = measured.find("run", case, "published.two_processes")

    def faster(each: Result) -> str:
        if peer is None or peer.median is None or each.median is None:
            return "–"
        warm = each.way == "ours.run_warm"
        return f"{peer.median / each.median if warm else with_startup(peer) / with_startup(each):.2f}"

    def from_shell(each: Result) -> str:
        return "–" if each.way == "ours.run_warm" else f"{with_startup(each):.1f}"

    title = f"From looms to medians: {case} of {sizes['loom_cells']:,} cells × {sizes['loom_genes']:,} genes"
    return Table(
        title,
        ["", "runs", "median s", "least s", "from the shell s", "times as fast as 2 processes", "memory GB"],
        _lines(measured.of("run", case), [from_shell, faster]),
        "From the shell: with the start of Python and, if used, of Spark. The warm session is compared "
        "without the start-up of either. Memory: the peak of all processes together.",
    )


def _loom(measured: Measurements, case: str) -> Table:
    return Table(
        f"Reading {case}, on one core",
        ["", "runs", "median s", "least s", "ratio to libdeflate", "ratio to ours", "memory GB"],
        _lines(
            measured.of("loom", case),
            [_ratio_to(measured, "loom", case, "loom.inflate"), _ratio_to(measured, "loom", case, "loom.ours")],
        ),
    )


def _h5ad(measured: Measurements, case: str) -> Table:
    return Table(
        f"Reading {case}, on one core",
        ["", "runs", "median s", "least s", "ratio to h5py and scipy", "ratio to ours", "memory GB"],
        _lines(
            measured.of("h5ad", case),
            [_ratio_to(measured, "h5ad", case, "h5ad.h5py_scipy"), _ratio_to(measured, "h5ad", case, "h5ad.ours")],
        ),
        "Only median_spark, into runs, chooses genes, and checks and normalises counts.",
    )


def _zarr(measured: Measurements, case: str) -> Table:
    return Table(
        f"Reading {case}, on one core",
        ["", "runs", "median s", "least s", "ratio to anndata", "ratio to ours", "memory GB"],
        _lines(
            measured.of("zarr", case),
            [_ratio_to(measured, "zarr", case, "zarr.anndata"), _ratio_to(measured, "zarr", case, "zarr.ours")],
        ),
        "Only median_spark, into runs, chooses genes, and checks and normalises counts.",
    )


def _formats(measured: Measurements, case: str) -> Table:
    floor = format_floor(measured, case)
    return Table(
        f"Reading {case}, on one core",
        ["", "runs", "median s", "least s", "ratio to the library", "ratio to ours", "memory GB"],
        _lines(
            measured.of("formats", case),
            [_ratio_to(measured, "formats", case, floor), _ratio_to(measured, "formats", case, "formats.ours")],
        ),
        "Only median_spark, into runs, chooses genes, and checks and normalises counts.",
    )


def _medians(measured: Measurements, case: str) -> Table:
    written = measured.sizes["tables_written"][case]
    sources = "1 source" if written["sources"] == 1 else f"{written['sources']} sources"
    return Table(
        f"Medians of {written['rows']:,} rows, {sources}, {written['bytes'] / 1e9:.2f} GB",
        ["", "runs", "median s", "least s", "ratio to ours", "ratio to DuckDB median", "ns per row", "memory GB"],
        _lines(
            measured.of("medians", case),
            [
                _ratio_to(measured, "medians", case, "ours.medians_exact"),
                _ratio_to(measured, "medians", case, "table.duckdb_median"),
                lambda each: f"{(each.median or 0) / written['rows'] * 1e9:.1f}",
            ],
        ),
        _agreement(measured, case),
    )


def _groups(measured: Measurements, case: str) -> Table:
    written = measured.sizes["tables_written"][case]
    return Table(
        f"Groups and subsets of the cells of {written['rows']:,} rows",
        ["", "runs", "median s", "least s", "ratio to the corpus alone", "memory GB"],
        _lines(measured.of("groups", case), [_ratio_to(measured, "groups", case, "ours.medians_exact")]),
        "DuckDB joins the values with their cells by source and cell id, and computes no medians of the corpus.",
    )


def _bundles(measured: Measurements, case: str) -> Table:
    written = measured.sizes["tables_written"][case]
    return Table(
        f"In several bundles: medians of {written['rows']:,} rows, {written['sources']} sources",
        ["", "runs", "median s", "least s", "ratio to 1 bundle", "ns per row", "memory GB"],
        _lines(
            measured.of("bundles", case),
            [
                _ratio_to(measured, "bundles", case, "ours.medians_exact"),
                lambda each: f"{(each.median or 0) / written['rows'] * 1e9:.1f}",
            ],
        ),
        "The sources are those of the largest table, several times over. In one bundle, workers need more memory than "
        f"they have by default. {_agreement(measured, case, 'bundles')}",
    )


def _agreement(measured: Measurements, case: str, section: str = "medians") -> str:
    """Say whether the ways that are exact found the same medians."""
    found = {each.label: each.found for each in measured.of(section, case) if each.way in _EXACT_WAYS and each.found}
    if len(found) < 2:
        return ""
    first, *others = found.values()
    apart = [
        label
        for label, each in zip(list(found)[1:], others, strict=True)
        if each["genes"] != first["genes"] or abs(each["sum"] - first["sum"]) > 1e-9 * first["sum"]
    ]
    if apart:
        return f"**These disagree with {next(iter(found))}: {', '.join(apart)}.**"
    return f"The {len(found)} exact ways found the same: {first['genes']:,} genes, and one sum of their medians."


def _profile(measured: Measurements, case: str) -> Table:
    """Show where the seconds go: the steps of the last repeat, and what they come to on all cores."""
    each = measured.of("profile", case)[0]
    if not each.seconds:
        return Table(case, [], [])
    steps, values = each.found["steps"], each.found["values"]
    whole = sum(steps.values())
    rows = [
        [step, span(seconds), f"{seconds / whole:.0%}", f"{seconds / values * 1e9:.1f}"]
        for step, seconds in [*steps.items(), ("together", whole)]
    ]
    looms, cores = measured.sizes["looms"], int(measured.machine["Cores"])
    below = (
        f"So {looms} looms on {cores} cores need {whole * looms / cores:.0f} s at best."
        if case == "one loom"
        else f"So {cores} cores digest {cores * values / whole / 1e6:,.0f}M rows per second at best."
    )
    return Table(f"Where a worker's time goes: {case}, on one core", ["", "s", "share", "ns per value"], rows, below)


def _rows(measured: Measurements) -> Table:
    costs = cost_per_row(measured)
    least = min(costs.values(), default=1.0)
    rows = [[f"{case} rows", f"{cost:.2f}", f"{cost / least:.2f}"] for case, cost in costs.items()]
    return Table("Cost per row of exact medians", ["", "ns per row", "ratio to the least"], rows)


def _memory(measured: Measurements) -> Table:
    kinds = ("worker", "driver", "jvm", "all")
    ours = [each for each in measured.results if each.way.startswith("ours.") and each.memory]
    rows = [
        [f"{each.label}, {each.case}", *(f"{each.memory.get(kind, 0) / 1e9:.2f}" for kind in kinds)] for each in ours
    ]
    columns = ["GB at most", "a Python worker", "the driver's Python", "the JVM", "all together"]
    return Table("Memory of median_spark", columns, rows)


def _bytes(measured: Measurements) -> Table:
    rows = []
    for each in measured.results:
        if each.way in ("ours.command", "ours.medians_logged", "ours.bundles_logged") and each.found:
            found = each.found
            moved = [
                f"{found[name] / 1e6:.1f} MB, {found[name] / found['bytes']:.2%}" if name in found else "–"
                for name in ("shuffled", "to_driver")
            ]
            rows.append([each.case, f"{found['rows']:,}", f"{found['bytes'] / found['rows']:.2f}", *moved])
    columns = ["", "rows", "bytes per row", "shuffled", "sent to the driver"]
    return Table("Bytes of the expression table, and of what is moved", columns, rows)


def _ratio_to(measured: Measurements, section: str, case: str, way: str) -> Callable[[Result], str]:
    base = measured.find(section, case, way)
    return lambda each: f"{each.median / base.median:.2f}" if base and base.median and each.median else "–"


def _lines(results: list[Result], columns: list[Callable[[Result], str]]) -> list[list[str]]:
    """Return a line for each result: its times, what the functions make of it, and its memory."""
    lines = []
    for each in results:
        if not each.seconds:
            lines.append([f"{each.label}: {each.note or 'not measured'}", "0", *["–"] * (len(columns) + 3)])
            continue
        label = f"{each.label} ({each.note})" if each.note else each.label
        times = [str(len(each.seconds)), span(each.median or 0.0), span(min(each.seconds))]
        memory = f"{each.memory.get('all', 0) / 1e9:.2f}"
        lines.append([label, *times, *(column(each) for column in columns), memory])
    return lines


def span(seconds: float) -> str:
    """Return seconds to three figures or so."""
    return f"{seconds:.1f}" if seconds >= 100 else f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}"


def _minutes(number: float) -> str:
    return "1 minute" if number == 1 else f"{number:g} minutes"


def sizes_text(measured: Measurements) -> str:
    """Return a few sentences about what was measured."""
    sizes = measured.sizes
    tables = ", ".join(short(rows) for rows in sizes["tables"])
    return (
        f"The input is {sizes['looms']} looms ({sizes['loom_bytes'] / 1e9:.2f} GB; {sizes['distinct']} generated, the "
        f"others copies of them) and expression tables of {tables} rows, all from fixed seeds. "
        "Each program runs in its own process. Programs that fit into memory together are measured in turns, the "
        "others one after the other. "
        f"A program is not repeated once its runs have taken {_minutes(sizes['patience_minutes'])}."
    )
