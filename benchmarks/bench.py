"""Measures median_spark and its peers side by side, and says what came out: `python bench.py --help`."""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
from corpus import Corpus
from machine import describe_machine
from measure import Limits, measure
from page import write_page
from report import Table, sizes_text, tables
from results import Measurements
from rich.console import Console
from rich.table import Table as RichTable
from scaling import write_scaling
from sections import SECTIONS, pieces
from sizes import SIZES

_HERE = Path(__file__).parent
_DOCS = _HERE.parent / "docs"
_FREE_SHARE = 0.8
"""Of the available memory: what ways measured in turn may take together."""

_BUSY = 10
"""Percent of the machine that others may take before a word is said about it."""


def main() -> None:
    given = _arguments().parse_args()
    if given.render:
        measured = Measurements.load(given.render)
    else:
        place = given.scratch or Path(tempfile.gettempdir())
        scratch = (place / "median-spark-bench").resolve()
        try:
            measured = _measure_all(given, scratch)
        finally:
            if not given.keep:
                shutil.rmtree(scratch, ignore_errors=True)
    _print(measured)
    if given.write:
        write_page(measured, _DOCS)
        write_scaling(measured, _DOCS)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", choices=SIZES, default="quick", help="how large (default: %(default)s)")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where the corpus is written (default: a temporary folder)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the corpus there; the next run takes it over")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="SECTION[:CASE]",
        help=f"of {', '.join(SECTIONS)} (default: all), such as medians:500M; what --json has of others is kept",
    )
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help="other tables: rows of each, ascending")
    parser.add_argument("--patience", type=float, metavar="MINUTES", help="repeat nothing that has taken so many")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="begin nothing new after so many")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="where every repeat is kept (default: with --write, results/SIZES.json)",
    )
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its chart")
    parser.add_argument("--render", type=Path, metavar="FILE", help="measure nothing: show what such a file keeps")
    return parser


def _measure_all(given: argparse.Namespace, scratch: Path) -> Measurements:
    begin = time.monotonic()
    sizes = SIZES[given.sizes]
    sizes = replace(
        sizes,
        tables=tuple(given.rows or sizes.tables),
        patience_minutes=given.patience or sizes.patience_minutes,
        budget_minutes=given.budget or sizes.budget_minutes,
    )
    corpus = Corpus(scratch, sizes)
    busy = psutil.cpu_percent(interval=2)
    if busy > _BUSY:
        _say(f"note: other programs take {busy:.0f} % of this machine; its figures will not say much")
    only = set(given.only or ())
    chosen = {each.split(":")[0] for each in only} or set(SECTIONS)
    if unknown := chosen - set(SECTIONS):
        message = f"--only {' '.join(sorted(unknown))}: must be of {', '.join(SECTIONS)}"
        raise SystemExit(message)
    _say("writing the corpus")
    described = corpus.write(chosen)
    machine = {**describe_machine(), "In use by others before": f"{busy:.0f} %"}
    measured = Measurements(described, machine, f"{datetime.now(UTC):%Y-%m-%d}")
    keep = given.json or (_HERE / "results" / f"{sizes.name}.json" if given.write else None)
    memory = psutil.virtual_memory().available
    limits = Limits(
        repeats=sizes.repeats,
        each=sizes.each_minutes * 60,
        patience=sizes.patience_minutes * 60,
        deadline=begin + sizes.budget_minutes * 60,
        memory=int(memory * _FREE_SHARE),
    )
    all_pieces = list(pieces(corpus, limits.memory))
    places = {(piece.section, piece.case): place for place, piece in enumerate(all_pieces)}
    wanted = [each for each in all_pieces if not only or {each.section, f"{each.section}:{each.case}"} & only]
    if keep and keep.exists() and only:
        anew = {(piece.section, piece.case) for piece in wanted}
        measured.results = [each for each in Measurements.load(keep).results if (each.section, each.case) not in anew]
    for piece in wanted:
        measured.results += measure(piece.section, piece.case, piece.ways, limits, corpus.logs, _say)
        measured.results.sort(key=lambda each: places.get((each.section, each.case), len(places)))
        if keep:
            measured.save(keep)
    _say(f"done in {(time.monotonic() - begin) / 60:.1f} min")
    return measured


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(measured: Measurements) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables(measured):
        console.print(_rich(table), markup=False)
        if table.below:
            console.print(table.below.replace("**", ""), highlight=False)
        console.print()
    console.print(sizes_text(measured), highlight=False)
    console.print(", ".join(f"{name} {found}" for name, found in measured.machine.items()), highlight=False)


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left")
    for place, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if place == 0 or table.title == "Targets" else "right")
    for row in table.rows:
        shown.add_row(*(cell.replace("**", "") for cell in row))
    return shown


if __name__ == "__main__":
    main()
