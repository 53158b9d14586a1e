"""Which ways are measured on what."""

from collections.abc import Iterator
from dataclasses import dataclass

from corpus import FORMATS, H5ADS, ZARRS, Corpus
from corpus_tables import ASSAYS, DONORS
from measure import Way
from sizes import short

from median_spark.spark.engine.processor import worker_environment
from median_spark.spark.engine.session import local_properties

SECTIONS = (
    "loom", "h5ad", "zarr", "formats", "profile", "shuffle", "plan", "medians", "groups", "bundles", "run",
)  # fmt: skip

_GIB = 1 << 30

_ROWS_A_WINDOW_ROW = 20 * 8
"""The largest row group of a source is a twentieth of it, and one of each source is in the window; so a table is cut
into eight bundles. At full size these are bundles as large corpora have them, nearly filling a worker's own window."""

OURS_MEMORY = 3 * _GIB
"""Of a session of ours on two cores: a JVM, a driver and two workers."""


@dataclass(frozen=True)
class Piece:
    """A piece of work, and the ways of doing it.

    Attributes
    ----------
    section, case : str
        See `results.Result`.
    ways : list of Way
        The most telling first: it is they that are measured in turn where memory is short.
    """

    section: str
    case: str
    ways: list[Way]


def pieces(corpus: Corpus, memory: int) -> Iterator[Piece]:
    """Yield everything that is measured.

    Parameters
    ----------
    corpus : Corpus
    memory : int
        Bytes that there are.
    """
    yield Piece("loom", "one loom", _loom_ways(corpus))
    for storage in H5ADS:
        yield Piece("h5ad", f"one {storage} h5ad", _h5ad_ways(corpus, storage))
    for version in ZARRS:
        yield Piece("zarr", f"one {version}", _zarr_ways(corpus, version))
    for case, name in FORMATS.items():
        yield Piece("formats", f"one {case}", _format_ways(corpus, name))
    yield from _profiles(corpus)
    for rows in (corpus.sizes.tables[0], corpus.sizes.tables[-1]):
        options = {"table": str(corpus.table(rows)), "scratch": str(corpus.scratch)}
        logged = Way(
            "ours.medians_logged", "median_spark, its events logged", options, OURS_MEMORY, discard=False, repeats=1
        )
        yield Piece("shuffle", short(rows), [logged])
    scratch = {"scratch": str(corpus.scratch)}
    yield Piece("plan", "30,000 parts", [Way("plan.listing", "planning", {"parts": 30_000, **scratch}, discard=False)])
    for rows in corpus.sizes.tables:
        yield Piece("medians", short(rows), _medians_ways(corpus, rows, memory))
    largest = max(rows for rows in corpus.sizes.tables if rows <= corpus.sizes.slow_rows)
    yield Piece("groups", short(largest), _groups_ways(corpus, largest))
    yield _bundles(corpus)
    yield Piece("run", f"{corpus.sizes.looms} looms", _run_ways(corpus))  # the longest by far: last


def _bundles(corpus: Corpus) -> Piece:
    """Return the medians of the table that is repeated, in one bundle and in eight."""
    rows = max(corpus.sizes.tables) * corpus.sizes.copies
    table = {"table": str(corpus.repeated_table), "scratch": str(corpus.scratch)}
    warm = {**table, "warm_up": str(corpus.warm_up_table)}
    whole, eighth = {"window_rows": rows}, {"window_rows": rows // _ROWS_A_WINDOW_ROW}
    ways = [
        Way("ours.medians_exact", "median_spark, exact, in 1 bundle", {**warm, **whole}, 5 * OURS_MEMORY),
        Way("ours.medians_bundles", "median_spark, exact, in 8 bundles", {**warm, **eighth}, OURS_MEMORY),
        Way(
            "ours.bundles_logged",
            "median_spark in 8 bundles, its events logged",
            {**table, **eighth},
            OURS_MEMORY,
            discard=False,
            repeats=1,
        ),
    ]
    return Piece("bundles", short(rows), ways)


def _run_ways(corpus: Corpus) -> list[Way]:
    where = {"looms": str(corpus.looms), "scratch": str(corpus.scratch)}
    warm = {**where, "warm_up": str(corpus.warm_up_looms)}
    often = corpus.sizes.repeats
    return [
        Way("ours.command", "median-spark run, from the shell", where, OURS_MEMORY, False, often),
        Way("ours.run_warm", "median_spark.run, session warm", warm, OURS_MEMORY, False, often),
        Way("published.two_processes", "published procedure, 2 processes", where, 3 * _GIB, False, often),
        Way("published.one_process", "published procedure, 1 process", where, 2 * _GIB, False, 1),
    ]


def _loom_ways(corpus: Corpus) -> list[Way]:
    where = {"loom": str(min(corpus.looms.glob("*.loom"))), "one_core": True}
    worker = _worker_environment()
    return [
        Way("loom.ours", "median_spark, into runs", where, environment=worker),
        Way("loom.inflate", "libdeflate, inflating only", where, environment=worker),
        Way("loom.h5py_slices", "h5py slices and nonzero", where, environment=worker),
    ]


def _h5ad_ways(corpus: Corpus, storage: str) -> list[Way]:
    where = {"h5ad": str(corpus.h5ads / f"{storage}.h5ad"), "one_core": True}
    worker = _worker_environment()
    return [
        Way("h5ad.ours", "median_spark, into runs", where, 2 * _GIB, environment=worker),
        Way("h5ad.h5py_scipy", "h5py, and one scipy transpose", where, 2 * _GIB, environment=worker),
        Way("h5ad.ours_turned", "median_spark, counts by gene", where, 2 * _GIB, environment=worker),
        Way("h5ad.anndata", "anndata, and one scipy transpose", where, 2 * _GIB, environment=worker),
    ]


def _zarr_ways(corpus: Corpus, version: str) -> list[Way]:
    where = {"store": str(corpus.zarrs / f"{version}.zarr"), "one_core": True}
    worker = _worker_environment()
    return [
        Way("zarr.ours", "median_spark, into runs", where, 2 * _GIB, environment=worker),
        Way("zarr.anndata", "anndata, and one scipy transpose", where, 2 * _GIB, environment=worker),
        Way("zarr.ours_turned", "median_spark, counts by gene", where, 2 * _GIB, environment=worker),
    ]


def _format_ways(corpus: Corpus, name: str) -> list[Way]:
    where = {"matrix": str(corpus.formats / name), "one_core": True}
    worker = _worker_environment()
    floors = {
        ".h5": ("formats.h5py_scipy", "h5py, and one scipy transpose"),
        ".mtx": ("formats.scipy_mmread", "scipy's mmread, and one transpose"),
        ".h5ad": ("formats.gzip_h5py_scipy", "gzip and h5py, and one scipy transpose"),
        ".soma": ("formats.tiledbsoma_scipy", "tiledbsoma, and one scipy transpose"),
    }
    floor, label = next(way for ending, way in floors.items() if name.removesuffix(".gz").endswith(ending))
    return [
        Way("formats.ours", "median_spark, into runs", where, 2 * _GIB, environment=worker),
        Way(floor, label, where, 3 * _GIB, environment=worker),
        Way("formats.ours_turned", "median_spark, counts by gene", where, 2 * _GIB, environment=worker),
    ]


def _profiles(corpus: Corpus) -> Iterator[Piece]:
    """Yield what shows where the time of a worker goes."""
    loom = {"loom": str(min(corpus.looms.glob("*.loom"))), "scratch": str(corpus.scratch), "one_core": True}
    table = {"table": str(corpus.table(corpus.sizes.tables[-1])), "one_core": True}
    worker = _worker_environment()
    yield Piece("profile", "one loom", [Way("profile.loom", "converting it", loom, environment=worker)])
    rows = short(corpus.sizes.tables[-1])
    yield Piece("profile", f"one sweep of {rows}", [Way("profile.sweep", "digesting it", table, environment=worker)])


def _worker_environment() -> dict[str, str]:
    """Return the variables that a local session gives a worker: who reads in its place has them too."""
    prefix = "spark.executorEnv."
    configured = {
        key.removeprefix(prefix): value for key, value in local_properties().items() if key.startswith(prefix)
    }
    return configured | worker_environment()


def _medians_ways(corpus: Corpus, rows: int, memory: int) -> list[Way]:
    table = corpus.table(rows)
    ours = {"table": str(table), "warm_up": str(corpus.warm_up_table), "scratch": str(corpus.scratch)}
    unwritten = {name: ours[name] for name in ("table", "warm_up")}
    peer = {"values": str(table / "values")}
    heap = max(2 * _GIB, min(40 * rows, memory * 6 // 10))
    spark = {**peer, "warm_up": str(corpus.warm_up_table / "values"), "heap": heap}
    slow, other = (
        "" if rows <= limit else "left out: it takes too long"
        for limit in (corpus.sizes.slow_rows, corpus.sizes.other_rows)
    )
    often = corpus.sizes.repeats
    peers = often if rows <= corpus.sizes.other_rows else None
    smallest = rows == corpus.sizes.tables[0]
    frames = [
        Way("ours.frame_exact", "median_spark of a DataFrame, exact", spark, heap + _GIB),
        Way("ours.frame_no_exact", "median_spark of a DataFrame, not exact", spark, heap + _GIB),
        Way("ours.frame_counts", "median_spark of a DataFrame of counts, exact", spark, heap + _GIB, False, 1),
        Way("table.spark_counts", "Spark SQL of the same counts", spark, heap + _GIB, False, 1),
        Way("table.pandas_udf", "grouped pandas UDF with crick", spark, heap + _GIB, False, 1),
        Way("table.apply_in_pandas", "applyInPandas with crick", spark, heap + _GIB, False, 1),
    ]
    numpy = _GIB + 45 * rows
    large = "" if numpy < memory else f"left out: it needs some {numpy / _GIB:.0f} GiB"
    return [
        Way("ours.medians_exact", "median_spark, exact", ours, OURS_MEMORY, repeats=often),
        Way("ours.medians_unwritten", "median_spark, exact, nothing written", unwritten, OURS_MEMORY, repeats=peers),
        Way("table.duckdb_median", "DuckDB median", peer, _GIB + 16 * rows, repeats=peers),
        Way("ours.medians_no_exact", "median_spark --no-exact", ours, OURS_MEMORY, repeats=peers),
        Way("table.duckdb_approximate", "DuckDB approx_quantile", peer, skip=other),
        Way("table.parquet_read", "reading gene and value, no more", peer),
        Way("table.polars_in_memory", "Polars median", peer, _GIB + 40 * rows, skip=other),
        Way("table.polars_streaming", "Polars median, streaming", peer, _GIB + 40 * rows, skip=other),
        Way("table.numpy_median", "numpy in memory, 1 process", peer, numpy, False, 2, large),
        *(frames if smallest else []),
        Way("table.spark_approximate", "Spark percentile_approx", spark, heap + _GIB, False, 1, slow),
        Way("table.spark_median", "Spark median", spark, heap + _GIB, False, 1, slow),
    ]


def _groups_ways(corpus: Corpus, rows: int) -> list[Way]:
    table = str(corpus.table(rows))
    ours = {"table": table, "warm_up": str(corpus.warm_up_table), "scratch": str(corpus.scratch)}
    joined = _GIB + 24 * rows
    return [
        Way("ours.medians_exact", "median_spark, the corpus alone", ours, OURS_MEMORY),
        Way("ours.medians_by_assay", f"median_spark, and by assay, {ASSAYS} groups", ours, OURS_MEMORY),
        Way("table.duckdb_by_assay", "DuckDB median by gene and assay", {"table": table}, joined),
        Way("ours.medians_of_cells", "median_spark, half of the cells", ours, OURS_MEMORY),
        Way("table.duckdb_of_cells", "DuckDB median of the same cells", {"table": table}, joined),
        Way("ours.medians_by_donor", f"median_spark, and by donor, {DONORS:,} groups", ours, OURS_MEMORY),
    ]
