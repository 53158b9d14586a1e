"""The version matrix: the same tests and the same corpus in one environment after the other, and one table at the end.

Results must have the same content in every leg as in this one's own environment, whose versions are constraints.txt's.
"""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from commands import run_commands, run_tests
from environments import BrokenLegError, build_wheel, ready_python, versions_of
from legs import LEGS
from outcome import differences, outcome
from scipy import sparse

from median_spark import write_demo

PACKAGES = ("pyspark", "numpy", "pandas", "pyarrow", "h5py", "numba", "crick")


@dataclass
class Verdict:
    """What came of a leg."""

    name: str
    versions: dict[str, str] = field(default_factory=dict)
    tests: str = "not run"
    commands: str = "not run"
    results: str = "not compared"
    passed: bool = False
    seconds: float = 0.0


def main():
    """Run the legs that were asked for, and return the exit status."""
    names = [leg.name for leg in LEGS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("legs", nargs="*", metavar="LEG", help=f"of {', '.join(names)}; without any, all")
    parser.add_argument("--environments", type=Path, required=True, help="folder where environments are kept")
    parser.add_argument("--no-tests", action="store_true", help="run the commands only")
    given = parser.parse_args()
    unknown = sorted(set(given.legs) - set(names))
    if unknown:
        parser.error(f"there is no leg {', '.join(unknown)}; there are {', '.join(names)}")
    environments = given.environments.resolve()
    logs = environments / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    chosen = [leg for leg in LEGS if not given.legs or leg.name in given.legs]
    with tempfile.TemporaryDirectory(prefix="median-spark-matrix-") as folder:
        verdicts = run_legs(chosen, environments, logs, Path(folder), tests=not given.no_tests)
    print_table(verdicts, logs)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def run_legs(legs, environments, logs, scratch, *, tests):
    """Run legs one after the other, each compared with the reference."""
    corpus = scratch / "corpus"
    write_corpus(corpus)
    wheel = build_wheel(scratch / "wheel", logs / "wheel.log")
    say("reference: every command in this environment")
    (scratch / "reference").mkdir()
    failed = run_commands(sys.executable, corpus, scratch / "reference", logs / "reference.log")
    if failed:
        message = f"'{failed}' fails in this environment already, see {logs / 'reference.log'}"
        raise SystemExit(message)
    expected = outcome(scratch / "reference")
    verdicts = []
    for leg in legs:
        verdict = Verdict(leg.name)
        verdicts.append(verdict)
        started = time.monotonic()
        try:
            run_leg(leg, verdict, (environments, logs, scratch, corpus, wheel), expected, tests=tests)
        except BrokenLegError as error:
            verdict.commands = str(error)
        verdict.seconds = time.monotonic() - started
        say(f"{leg.name}: {'passed' if verdict.passed else 'FAILED'} in {verdict.seconds:.0f} s")
    return verdicts


def run_leg(leg, verdict, places, expected, *, tests):
    """Fill in what comes of one leg."""
    environments, logs, scratch, corpus, wheel = places
    log = logs / f"{leg.name}.log"
    say(f"{leg.name}: its environment")
    python = ready_python(leg, environments, wheel, log)
    verdict.versions = versions_of(python, PACKAGES)
    out = scratch / leg.name
    out.mkdir()
    say(f"{leg.name}: every command")
    failed = run_commands(python, corpus, out, log)
    verdict.commands = f"'{failed}' failed" if failed else "passed"
    if not failed:
        apart = differences(expected, outcome(out))
        verdict.results = f"{len(apart)} of {len(expected)} differ" if apart else f"{len(expected)} the same"
        (logs / f"{leg.name}.differences").write_text("\n".join(apart))
    tests_passed = True
    if leg.constraints is None:
        verdict.tests = "are those of make test"
    elif tests:
        say(f"{leg.name}: tests")
        verdict.tests, tests_passed = run_tests(python, out, log)
    verdict.passed = tests_passed and not failed and verdict.results.endswith("the same")
    shutil.rmtree(out)


def write_corpus(folder):
    """Write the demo corpus, and an h5ad beside its looms, for every leg to read."""
    write_demo(str(folder))
    genes = pd.read_csv(folder / "gene_info_table.csv", index_col="ensembl_id").index
    counts = sparse.random(400, len(genes), 0.15, "csr", np.float32, np.random.default_rng(4))
    counts.data = np.ceil(counts.data * 9)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    obs = pd.DataFrame({"n_counts": totals, "filter_pass": 1}, index=[f"cell{number}" for number in range(400)])
    path = folder / "database3" / "study1.h5ad"
    path.parent.mkdir()
    anndata.AnnData(counts, obs, pd.DataFrame(index=genes)).write_h5ad(path)


def print_table(verdicts, logs):
    """Print what came of every leg, as a table that a README may take."""
    head = ["leg", "Python", *PACKAGES, "commands", "results", "tests", "seconds"]
    rows = [
        [v.name, *(v.versions.get(name, "") for name in ("python", *PACKAGES)), v.commands, v.results, v.tests,
         f"{v.seconds:.0f}"]
        for v in verdicts
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |")
    failed = [verdict.name for verdict in verdicts if not verdict.passed]
    print(f"{len(verdicts) - len(failed)} passed, {len(failed)} failed" + (f"; see {logs}" if failed else ""))


def say(text):
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
