"""Where compiled code is kept: beside the package, else with the user, else in a private folder, and nowhere unsafe."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from looms import random_counts, write_loom

import median_spark
from median_spark.matrices.loops import jit

pytestmark = pytest.mark.slow

READ = """
import sys
import numpy as np
import median_spark
from median_spark.matrices import AttributeNames, open_matrix
with open_matrix(sys.argv[1], AttributeNames()) as matrix:
    entries = matrix.entries(np.arange(matrix.shape[0]), 0, matrix.shape[1], np.ones(matrix.shape[1], bool))
    totals = matrix.cell_totals(0, matrix.shape[1])
print("from", median_spark.__file__)
print("read", entries.counts.sum(), totals.sum())
"""


@pytest.fixture(scope="module")
def counts():
    return random_counts(np.random.default_rng(0), 20, 30, density=0.4)


@pytest.fixture
def loom(tmp_path, counts):
    return write_loom(tmp_path / "study.loom", counts)


@pytest.fixture
def package(tmp_path):
    """A copy of the package in a folder of its own, without any compiled code."""
    copied = tmp_path / "site" / "median_spark"
    shutil.copytree(Path(median_spark.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def make_unwritable(package):
    """Let numba find no folder beside the package; the owner of all, root, may write to a read-only one."""
    (package / "matrices" / "loops" / "__pycache__").touch()


def read(package, loom, tmp_path, home):
    """Read a loom with a copy of the package in a process of its own; return what numba says about its cache."""
    (tmp_path / "temporary").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
    environment |= {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(tmp_path / "temporary"),
        "NUMBA_DEBUG_CACHE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, loom], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"from {package}/__init__.py" in done.stdout
    return done.stdout


def assert_read(said, counts):
    assert f"read {counts.sum()} {float(counts.sum())}" in said


def compiled_in(folder):
    return sorted(path.name for path in Path(folder).rglob("*.nb[ic]"))


@pytest.fixture
def nowhere(tmp_path):
    """A home below a file: nothing can be written there."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "home"


@pytest.fixture
def private(tmp_path):
    """The private folder, which is not there yet."""
    return tmp_path / "temporary" / f"median-spark-compiled-{os.getuid()}"


def test_beside_the_package_where_that_can_be_written(package, loom, counts, tmp_path, private, nowhere):
    assert_read(read(package, loom, tmp_path, nowhere), counts)
    assert any("scatter" in name for name in compiled_in(package / "matrices" / "loops" / "__pycache__"))
    assert not private.exists()


def add_one(number):
    return number + 1


def test_the_guard_is_told_while_a_loop_is_compiled_and_not_while_it_runs(monkeypatch):
    told = []
    monkeypatch.setattr(jit, "compiling", lambda *, begins: told.append(begins))
    loop = numba.njit(add_one)
    assert (loop(1), told) == (2, [True, False])
    assert (loop(2), told) == (3, [True, False])


def test_with_the_user_where_the_package_is_read_only(package, loom, counts, tmp_path, private):
    make_unwritable(package)
    assert_read(read(package, loom, tmp_path, tmp_path / "home"), counts)
    assert any("scatter" in name for name in compiled_in(tmp_path / "home"))
    assert not private.exists()


def test_in_a_private_folder_where_neither_can_be_written(package, loom, counts, tmp_path, private, nowhere):
    make_unwritable(package)
    assert_read(read(package, loom, tmp_path, nowhere), counts)
    found = private.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.getuid())
    kept = compiled_in(private)
    assert any("scatter" in name for name in kept)
    again = read(package, loom, tmp_path, nowhere)
    assert_read(again, counts)
    assert "data loaded from" in again
    assert "data saved to" not in again
    assert compiled_in(private) == kept


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707, 0o701])
def test_never_in_a_folder_that_others_can_reach(package, loom, counts, tmp_path, private, nowhere, mode):
    make_unwritable(package)
    private.mkdir(parents=True)
    private.chmod(mode)
    assert_read(read(package, loom, tmp_path, nowhere), counts)
    assert list(private.iterdir()) == []
    assert stat.S_IMODE(private.stat().st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_never_in_a_folder_of_another_user(package, loom, counts, tmp_path, private, nowhere):
    make_unwritable(package)
    private.mkdir(parents=True, mode=0o700)
    os.chown(private, 65534, 65534)
    assert_read(read(package, loom, tmp_path, nowhere), counts)
    assert list(private.iterdir()) == []


def test_never_through_a_link(package, loom, counts, tmp_path, private, nowhere):
    make_unwritable(package)
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    private.parent.mkdir()
    private.symlink_to(target)
    assert_read(read(package, loom, tmp_path, nowhere), counts)
    assert list(target.iterdir()) == []


def test_nowhere_where_the_private_folder_is_a_file(package, loom, counts, tmp_path, private, nowhere):
    make_unwritable(package)
    private.parent.mkdir()
    private.touch()
    assert_read(read(package, loom, tmp_path, nowhere), counts)
