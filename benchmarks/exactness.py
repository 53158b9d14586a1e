"""What exactness costs: the digest pass alone, both passes, and DuckDB's exact median, side by side in one run."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
from tables import write_table

from median_spark.spark.medians import gene_medians
from median_spark.spark.session import spark_session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=8)
    parser.add_argument("--values", type=int, default=6_250_000, help="values a source")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, spark_session() as spark:
        table = write_table(f"{folder}/x", given.sources, given.values)
        stored = sum(path.stat().st_size for path in Path(table.values).rglob("*.parquet"))
        rows = sum(record.values for record in table.sources())
        ways: dict[str, Callable[[], object]] = {
            "digests alone": lambda: gene_medians(table.location, spark=spark, exact=False),
            "digests, then exact": lambda: gene_medians(table.location, spark=spark),
            "DuckDB median": lambda: duckdb.sql(
                f"SELECT gene, median(value) FROM '{table.values}/*/*.parquet' GROUP BY gene"
            ).fetchall(),
        }
        for way in ways.values():  # a first time for each, so that workers run and files are in memory
            way()
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.repeats):
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - begin)
    print(f"{rows:,} rows of {given.sources} sources, {stored / rows:.1f} bytes a row, {given.repeats} repeats")
    base = statistics.median(seconds["digests alone"])
    print(f"{'':<22}{'median s':>10}{'least s':>10}{'ratio':>8}")
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name:<22}{median:>10.2f}{min(found):>10.2f}{median / base:>8.2f}")
    print("ratio: to the digest pass alone; exactness costs less than that pass while its own ratio is below 2")


if __name__ == "__main__":
    main()
