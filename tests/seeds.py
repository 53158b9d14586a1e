"""Run the tests without Spark as `make test` does not: other examples, in other orders, elsewhere, on older processors.

`make test` draws the same examples on every run, and hypothesis chooses some of them by constants of the code under
test, which depend on the path of the checkout. So a test that fails for other examples looks sound for years.
"""

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SELECTED = "not spark and not cluster"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", "__pycache__", ".hypothesis", "dist", "demo", "spark-warehouse"
)


@dataclass(frozen=True)
class Leg:
    """One run of the tests.

    Attributes
    ----------
    name : str
        What is different, for people.
    options : tuple of str
        Of pytest.
    environment : dict of str to str
        Variables in addition to those of this process.
    elsewhere : bool
        Whether a copy of the checkout is tested, in a folder below one named ``test``.
    """

    name: str
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    elsewhere: bool = False


def newer_instructions() -> str:
    """Return the processor features that numpy uses here beyond those that it needs, as it calls them."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    except ImportError:  # numpy 1
        from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    return " ".join(feature for feature in __cpu_dispatch__ if __cpu_features__.get(feature))


def legs(seeds: list[int]) -> Iterator[Leg]:
    """Yield all runs: one per seed, one from another path, one with numpy's newer instructions switched off."""
    for seed in seeds:
        yield Leg(f"seed {seed}", seeded(seed), {"HYPOTHESIS_PROFILE": "seeds"})
    yield Leg("a checkout below a folder named test", elsewhere=True)
    without = newer_instructions()
    if without:
        environment = {"NPY_DISABLE_CPU_FEATURES": without, "HYPOTHESIS_PROFILE": "seeds"}
        yield Leg("without newer instructions", seeded(seeds[0]), environment)
    else:
        print("numpy uses no newer instructions on this processor: there is nothing to switch off", flush=True)


def seeded(seed: int) -> tuple[str, ...]:
    """Return the options that choose hypothesis's examples and the order of the tests."""
    order = ("--random-order", "--random-order-bucket=global", f"--random-order-seed={seed}")
    return (f"--hypothesis-seed={seed}", *order)


def run(leg: Leg, folder: Path, tests: list[str]) -> bool:
    """Run the tests once, and say whether all passed; if not, print what failed and how to see it again."""
    tree = ROOT
    if leg.elsewhere:
        tree = folder / "test" / "median_spark"
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
    # PYTHONPATH comes before the folder that `pip install --editable` names.
    environment = {"PYTHONPATH": str(tree), **leg.environment}
    options = ["-m", SELECTED, "-p", "no:cacheprovider", *leg.options]
    command = [sys.executable, "-m", "pytest", *tests, *options]
    parallel = ["--quiet", "--numprocesses", "2", "--dist", "loadfile"]
    done = subprocess.run([*command, *parallel], cwd=tree, env=os.environ | environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    print(f"{leg.name}: {lines[-1] if lines else 'no output'}", flush=True)
    if done.returncode == 0:
        return True
    log = ROOT / ".pytest_seeds" / f"{leg.name.replace(' ', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(done.stdout + done.stderr)
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print(f"  {line}")
    where = "a copy of this checkout below a folder named test" if leg.elsewhere else "this checkout"
    assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in leg.environment.items())
    print(f"  all of it: {log}\n  again, in {where}: {assignments} {shlex.join(command)}".rstrip(), flush=True)
    return False


def main() -> int:
    """Run all legs, and return how many of them failed, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seed", type=int, action="append", help="use this seed, and others so named, not five new ones"
    )
    parser.add_argument("--only", metavar="TEXT", help="run only legs whose name contains TEXT")
    parser.add_argument("tests", nargs="*", default=["tests"], help="files and folders of tests")
    chosen = parser.parse_args()
    # Pseudo-random seeds that are printed: each run looks where no earlier one did, and can be repeated.
    seeds = chosen.seed or random.sample(range(1_000_000), 5)
    print(f"seeds: {' '.join(map(str, seeds))}", flush=True)
    wanted = [leg for leg in legs(seeds) if chosen.only is None or chosen.only in leg.name]
    failed = []
    for leg in wanted:
        with tempfile.TemporaryDirectory(prefix="seeds-") as folder:
            if not run(leg, Path(folder), chosen.tests):
                failed.append(leg.name)
    print(f"failed: {', '.join(failed)}" if failed else f"all {len(wanted)} runs passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
