"""What every leg runs: the suite's tests that need Spark or the libraries, and every command on one corpus."""

from environments import CHECKOUT, run_logged
from legs import HERE

TESTS = (
    "cli/test_main.py",
    "digests",
    "exact",
    "expression",
    "genes/test_genes.py",
    "genes/test_map.py",
    "matrices",
    "merging",
    "results/test_groups.py",
    "results/test_results.py",
    "spark",
    "test_pickles.py",
    "verification/test_verification.py",
)
"""Below tests/: all that calls Spark, pyarrow, h5py, pandas, numba or crick, but for what is slow or draws pages."""

WINDOW = 60_000
"""Values of a window with which the corpus falls into several bundles, so that digests are merged and refined."""


def run_tests(python, scratch, log):
    """Run the tests, and return pytest's own closing line, and whether they passed.

    What a library of a few years ago will lose in the future does not concern us: Spark 3.5 uses pandas so.
    """
    paths = [CHECKOUT / "tests" / name for name in TESTS]
    arguments = [
        python, "-m", "pytest", "-c", CHECKOUT / "pyproject.toml", "--rootdir", CHECKOUT, "-p", "no:cacheprovider",
        "-q", "-m", "not slow and not cluster", "-W", "ignore::FutureWarning", "--numprocesses", "2",
        "--dist", "loadfile", "--basetemp", scratch / "tests", *paths,
    ]  # fmt: skip
    status = run_logged(arguments, log, cwd=scratch, minutes=25)
    lines = log.read_text(errors="replace").splitlines()
    closing = next((line.strip("= ") for line in reversed(lines) if " in " in line and "passed" in line), "no result")
    return closing, status == 0


def run_commands(python, corpus, out, log):
    """Run every command on the corpus, results into a new folder; return the first that failed, or None."""
    genes = corpus / "gene_info_table.csv"
    master = ("--master", "local[2]")
    median_spark = [python, "-m", "median_spark"]
    commands = [
        ("demo", "--out", out / "demo"),
        ("inspect", out / "demo" / "database1" / "data" / "study1.loom", "--gene-table", genes),
        ("run", corpus, "--gene-table", genes, "--out", out / "run", "--by", "source", "--digest-pickles",
         out / "pickles", *master),
        ("verify", out / "run" / "expression", out / "run" / "medians", "--inputs"),
        ("convert", corpus, "--gene-table", genes, "--out", out / "expression", *master),
        ("remove", out / "expression", "database1/data/study2"),
        ("medians", out / "expression", "--out", out / "medians", *master),
        ("medians", out / "expression", "--out", out / "digests", "--no-exact", *master),
        ("merge", out / "pickles", "--out", out / "merged"),
        ("report", out / "run", "--compare", out / "medians" / "medians.csv", "--gene-table", genes),
        ("inspect", out / "run" / "medians"),
    ]  # fmt: skip
    in_windows = [python, HERE.parent / "support" / "in_windows.py", str(WINDOW)]
    whole = [(command[0], [*median_spark, *command]) for command in commands]
    arguments = ("run", corpus, "--gene-table", genes, "--out", out / "windows", *master)
    for name, command in [*whole, ("run in windows", [*in_windows, *arguments])]:
        if run_logged(command, log, cwd=out, minutes=10):
            return name
    return None
