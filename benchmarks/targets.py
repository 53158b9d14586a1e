"""What was to be reached, and whether it was: computed from the figures, at the sizes that were measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from results import Measurements, Result

_GB = 10**9
_LARGE_ROWS = 0.97 * 500_000_000
"""From which the targets of `medians` hold; what is drawn has only about as many rows as were wanted."""

_EXACT, _NO_EXACT = "ours.medians_exact", "ours.medians_no_exact"


@dataclass(frozen=True)
class Verdict:
    """Whether one target was met.

    Attributes
    ----------
    what, against, wanted, found : str
        Ours, what it is compared with, the target, and the figure.
    limit, figure : float or None
        The same as numbers, None where it was not measured.
    least : bool
        True if the figure should be at least the limit, not at most.
    """

    what: str
    against: str
    wanted: str
    found: str
    limit: float
    figure: float | None
    least: bool = False

    @property
    def met(self) -> bool | None:
        """None where it was not measured."""
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.least else self.figure <= self.limit

    @property
    def text(self) -> str:
        """Met, or missed by how much."""
        if self.figure is None:
            return "not measured"
        if self.met:
            return "met"
        apart = 1 - self.figure / self.limit if self.least else self.figure / self.limit - 1
        if apart > 1:
            return f"**missed**: {self.figure / self.limit:,.1f} times as much"
        return f"**missed** by {apart * 100:.0f} %" if apart >= 0.005 else "**missed** by less than 1 %"


def verdicts(measured: Measurements) -> list[Verdict]:
    """Return all targets, in the order in which they were set."""
    return [*_of_runs(measured), *_of_medians(measured), *_of_memory(measured), *_of_bytes(measured)]


def reads_small(measured: Measurements) -> bool:
    """Say whether the sizes are below those that the targets were set for."""
    return measured.sizes["name"] != "full"


def with_startup(result: Result) -> float:
    """Return the seconds that a way takes from the shell."""
    return (result.median or 0.0) + (0.0 if result.way == "ours.command" else result.startup)


def _of_runs(measured: Measurements) -> Iterator[Verdict]:
    for case in measured.cases("run"):
        theirs = measured.find("run", case, "published.two_processes")
        cold = measured.find("run", case, "ours.command")
        warm = measured.find("run", case, "ours.run_warm")
        peer = "published procedure on 2 processes"
        ratio = with_startup(theirs) / with_startup(cold) if theirs and cold else None
        yield _faster(f"`run` on {case}, start-up and exactness included", peer, ratio, 4.5)
        ratio = theirs.median / warm.median if theirs and warm and theirs.median and warm.median else None
        yield _faster(f"`run` on {case}, start-up of both taken out", peer, ratio, 5)
    for case in measured.cases("loom"):
        ratio = _ratio(measured, "loom", case, "loom.ours", "loom.inflate")
        yield _within(f"reading {case} into runs, one core", "inflating its tiles with libdeflate", ratio, 1.6)
    for case in measured.cases("h5ad"):
        for way, what in (("h5ad.ours_turned", "counts by gene"), ("h5ad.ours", "runs")):
            ratio = _ratio(measured, "h5ad", case, way, "h5ad.h5py_scipy")
            yield _within(f"reading {case} into {what}, one core", "h5py, and one scipy transpose", ratio, 1.6)
    for case in measured.cases("zarr"):
        ratio = _ratio(measured, "zarr", case, "zarr.ours_turned", "zarr.anndata")
        yield _within(f"reading {case} into counts by gene, one core", "anndata, and one scipy transpose", ratio, 1.6)
    for case in measured.cases("formats"):
        ratio = _ratio(measured, "formats", case, "formats.ours_turned", format_floor(measured, case))
        yield _within(f"reading {case} into counts by gene, one core", "its library, and one transpose", ratio, 1.6)


def format_floor(measured: Measurements, case: str) -> str:
    """Return the way that reads a matrix by the library of its format."""
    return next(each.way for each in measured.of("formats", case) if not each.way.startswith("formats.ours"))


def _of_medians(measured: Measurements) -> Iterator[Verdict]:
    def against(ours: str, peer: str) -> tuple[str, float | None]:
        """Compare at the size that is worst for ours, of those that count; else at the largest there is."""
        cases = measured.cases("medians")
        ratios = [(case, ratio) for case in cases if (ratio := _ratio(measured, "medians", case, ours, peer))]
        large = [each for each in ratios if measured.sizes["tables_written"][each[0]]["rows"] >= _LARGE_ROWS]
        if large:
            return max(large, key=lambda each: each[1])
        return ratios[-1] if ratios else (cases[-1] if cases else "no", None)

    for ours, what in (
        (_EXACT, "`medians`"),
        ("ours.medians_unwritten", "`table_medians`, nothing written"),
        (_NO_EXACT, "`medians --no-exact`"),
    ):
        case, ratio = against(ours, "table.duckdb_median")
        yield _within(f"{what}, {case} rows", "DuckDB `median`", ratio, 0.5)
    for peer, name, limit in (
        ("table.spark_approximate", "Spark `percentile_approx`", 15),
        ("table.spark_median", "Spark `median`", 15),
        ("table.polars_in_memory", "Polars `median`", 1),
        ("table.polars_streaming", "Polars `median`, streaming", 1),
        ("table.duckdb_approximate", "DuckDB `approx_quantile`", 1),
    ):
        case, ratio = against(_EXACT, peer)
        yield _faster(f"`medians`, exact, {case} rows", name, 1 / ratio if ratio else None, limit)
    for case in measured.cases("bundles"):
        ratio = _ratio(measured, "bundles", case, "ours.medians_bundles", _EXACT)
        yield _within(f"`medians` in 8 bundles, {case} rows", "one bundle", ratio, 1.5)
    for case in measured.cases("medians"):
        peers = ("table.spark_approximate", "table.apply_in_pandas")
        ratios = [_ratio(measured, "medians", case, "ours.frame_exact", peer) for peer in peers]
        known = [ratio for ratio in ratios if ratio]
        if known:
            peer = "the faster of Spark `percentile_approx` and `applyInPandas` with crick"
            yield _within(f"`gene_medians` of a DataFrame, exact, {case} rows", peer, max(known), 0.5)
    for case in measured.cases("groups"):
        for way, what, limit in (("by_assay", "by 5 groups, too", 1.5), ("of_cells", "of half of the cells", 1)):
            ratio = _ratio(measured, "groups", case, f"ours.medians_{way}", _EXACT)
            yield _within(f"`medians` {what}, {case} rows", "the corpus alone", ratio, limit)
    costs = cost_per_row(measured)
    spread = max(costs.values()) / min(costs.values()) if len(costs) > 1 else None
    found = ", ".join(f"{cost:.1f} ns at {case}" for case, cost in costs.items())
    yield Verdict("cost per row, exact", "itself at other sizes", "flat within 15 %", found, 1.15, spread)


def cost_per_row(measured: Measurements) -> dict[str, float]:
    """Return nanoseconds per row of exact medians, by case."""
    found = {case: measured.find("medians", case, _EXACT) for case in measured.cases("medians")}
    rows = measured.sizes["tables_written"]
    return {case: each.median / rows[case]["rows"] * 1e9 for case, each in found.items() if each and each.median}


def _of_memory(measured: Measurements) -> Iterator[Verdict]:
    for kind, name in (("worker", "a Python worker"), ("driver", "the driver's Python"), ("jvm", "Spark's JVM")):
        ours = [each for each in measured.results if each.way.startswith("ours.") and each.seconds]
        ours = [each for each in ours if not each.way.startswith("ours.frame_")]  # their heap is the user's choice
        ours = [each for each in ours if (each.section, each.way) != ("bundles", _EXACT)]  # so is its window
        most = max((each.memory.get(kind, 0) for each in ours), default=0)
        figure = most / _GB if most else None
        yield Verdict(f"peak memory of {name}", "", "≤ 1 GB", f"{most / _GB:.2f} GB", 1.0, figure)
        peaks = [
            (each.case, each.memory.get(kind, 0)) for each in ours if each.section == "medians" and each.way == _EXACT
        ]
        if len(peaks) > 1:
            growth = peaks[-1][1] / peaks[0][1]
            found = ", ".join(f"{peak / _GB:.2f} GB at {case}" for case, peak in (peaks[0], peaks[-1]))
            yield Verdict(f"growth with the table of {name}", "", "none, within 15 %", found, 1.15, growth)


def _of_bytes(measured: Measurements) -> Iterator[Verdict]:
    converted = [each.found for each in measured.of("run") if each.way == "ours.command" and each.seconds]
    a_row = converted[0]["bytes"] / converted[0]["rows"] if converted else None
    yield Verdict("expression table", "", "≤ 5 bytes per row", f"{a_row:.2f} bytes" if a_row else "–", 5.0, a_row)
    shares = [
        (each.way, each.case, each.found["shuffled"] / each.found["bytes"])
        for each in [*measured.of("shuffle"), *measured.of("bundles")]
        if each.seconds and "shuffled" in each.found
    ]
    for way, name in (("ours.medians_logged", "bytes shuffled"), ("ours.bundles_logged", "the same, in 8 bundles")):
        of_way = [(case, share) for each, case, share in shares if each == way]
        found = ", ".join(f"{share:.2%} at {case}" for case, share in of_way)
        yield Verdict(name, "the table's", "≤ 2 %", found, 0.02, of_way[-1][1] if of_way else None)


def _ratio(measured: Measurements, section: str, case: str, ours: str, peer: str) -> float | None:
    above, below = measured.find(section, case, ours), measured.find(section, case, peer)
    return above.median / below.median if above and below and above.median and below.median else None


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"


def _faster(what: str, against: str, ratio: float | None, times: float) -> Verdict:
    wanted = f"≥ {times:g}× faster" if times > 1 else "faster"
    return Verdict(what, against, wanted, _times(ratio), times, ratio, least=True)


def _within(what: str, against: str, ratio: float | None, share: float) -> Verdict:
    return Verdict(what, against, f"≤ {share:g}× its time", _times(ratio), share, ratio)
