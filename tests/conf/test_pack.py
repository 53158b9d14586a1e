"""Packing the environment: what its archive, its name and its Python are, without building one."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def pack():
    spec = importlib.util.spec_from_file_location("pack", CHECKOUT / "conf" / "package" / "pack.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install(site, name, *tags, version="1.0"):
    """Make a package as pip leaves it, whose wheel had these tags."""
    record = site / f"{name}-{version}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (record / "WHEEL").write_text("".join(f"Tag: {tag}\n" for tag in tags))
    (site / f"{name}.py").write_text(f"found = {name!r}\n")


def tag_of(pack, site):
    return pack.platform_tag(list(distributions(path=[str(site)])))


def test_the_newest_c_library_that_a_package_needs_is_that_of_all(pack, tmp_path):
    install(tmp_path, "plain", "py3-none-any")
    install(tmp_path, "old", "cp311-cp311-manylinux2014_x86_64", "cp311-cp311-manylinux_2_17_x86_64")
    install(tmp_path, "either", "cp311-abi3-manylinux_2_34_x86_64", "cp311-abi3-manylinux_2_24_x86_64")
    assert tag_of(pack, tmp_path) == f"manylinux_2_24_{os.uname().machine}"
    install(tmp_path, "new", "cp311-cp311-manylinux_2_28_x86_64")
    assert tag_of(pack, tmp_path) == f"manylinux_2_28_{os.uname().machine}"
    assert pack.libc_text(tag_of(pack, tmp_path)) == "Linux with glibc 2.28 or newer"


def test_nothing_compiled_fits_any_machine(pack, tmp_path):
    install(tmp_path, "plain", "py2-none-any", "py3-none-any")
    assert tag_of(pack, tmp_path) == "any"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at Linux's C library")
def test_what_was_compiled_here_needs_what_is_here(pack, tmp_path):
    install(tmp_path, "own", f"cp311-cp311-linux_{os.uname().machine}")
    version = os.confstr("CS_GNU_LIBC_VERSION").split()[1].replace(".", "_")
    assert tag_of(pack, tmp_path) == f"manylinux_{version}_{os.uname().machine}"


def test_an_archive_is_the_same_bytes_for_the_same_files(pack, tmp_path):
    for number, names in enumerate([("b/two", "a", "b/one"), ("a", "b/one", "b/two")]):
        for name in names:
            path = tmp_path / f"tree{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(0o600 + 0o100 * (name == "a") + 0o040 * number)
            os.utime(path, (number * 1e8, number * 1e8))
        (tmp_path / f"tree{number}" / "link").symlink_to("a")
        pack.write_archive(tmp_path / f"tree{number}", tmp_path / f"{number}.tar.gz", 1_600_000_000)
    assert (tmp_path / "0.tar.gz").read_bytes() == (tmp_path / "1.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "0.tar.gz") as packed:
        assert packed.getnames() == ["a", "b", "b/one", "b/two", "link"]
        assert packed.getmember("a").mode == packed.getmember("b").mode == 0o755
        assert packed.getmember("b/one").mode == 0o644
        assert packed.extractfile("b/one").read() == b"b/one"


def test_times_are_the_commits_or_what_is_asked_for(pack, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    assert pack.made_at() == 1_234_567_890
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert pack.made_at() > 1_700_000_000


@pytest.fixture
def environment(pack, tmp_path):
    """An environment with one package, unpacked where its path holds a space."""
    tree = tmp_path / "un packed" / "environment"
    site = tree / "lib" / f"python{MINOR}" / "site-packages"
    install(site, "median_spark", "py3-none-any", version="0.1.0")
    pack.furnish(tree, "some.tar.gz", list(distributions(path=[str(site)])))
    return tree


def python(environment, *arguments, path=None, **variables):
    """Run the environment's Python as a worker does; the PATH leads to this test's own Python unless told otherwise."""
    path = path or f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        [str(environment / "bin" / "python"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, **variables},
        cwd=environment,  # not the checkout, whose own median_spark would come first
    )


def test_its_python_finds_its_packages_first_and_keeps_those_of_spark(environment):
    code = "import sys, median_spark; print(median_spark.found, median_spark.__file__, sys.path)"
    done = python(environment, "-c", code, PYTHONPATH="/spark/python/lib/pyspark.zip")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"median_spark {environment}/lib/python{MINOR}/site-packages/median_spark.py")
    assert "/spark/python/lib/pyspark.zip" in done.stdout


def test_a_worker_imports_nothing_from_the_current_folder(environment):
    (environment / "h5py.py").write_text("raise SystemExit(3)\n")
    (environment / "lib" / f"python{MINOR}" / "site-packages" / "worker.py").write_text("import h5py\n")
    assert python(environment, "-m", "worker").returncode != 3


def test_its_python_works_through_links_and_with_its_own_folder_on_the_path(environment, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "environment").symlink_to(environment)
    other = tmp_path / "other"
    shutil.copytree(environment, other)
    path = f"{environment}/bin:{other}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"
    done = python(tmp_path / "links" / "environment", "-c", "import median_spark", path=path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "links" / "python").symlink_to(environment / "bin" / "python")
    command = [str(tmp_path / "links" / "python"), "-c", "import median_spark"]
    assert subprocess.run(command, check=False, env={"PATH": path}, cwd=tmp_path).returncode == 0


def test_a_python_of_another_version_is_passed_over(environment, tmp_path):
    for folder, version in (("first", "3.4"), ("second", MINOR)):
        (tmp_path / folder).mkdir()
        script = tmp_path / folder / "python3"
        script.write_text(f"#!/bin/sh\ncase $1 in -c) echo {version};; *) echo ran {folder};; esac\n")
        script.chmod(0o755)
    done = python(environment, "-m", "some", path=f"{tmp_path}/first:{tmp_path}/second:/usr/bin:/bin")
    assert done.stdout == "ran second\n"


def test_a_python_that_is_named_is_taken(environment):
    done = python(environment, "-c", "import median_spark", MEDIAN_SPARK_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    refused = python(environment, "-c", "import median_spark", MEDIAN_SPARK_PYTHON="/no/such/python")
    assert refused.returncode == 127
    assert f"MEDIAN_SPARK_PYTHON is /no/such/python, which is no Python {MINOR}" in refused.stderr


def test_another_type_of_machine_is_refused_by_name(environment):
    script = environment / "bin" / "python"
    script.write_text(script.read_text().replace(f"machine={os.uname().machine}", "machine=sparc"))
    done = python(environment, "-c", "pass")
    assert done.returncode == 127
    assert f"made for machines of type sparc and this one is {os.uname().machine}" in done.stderr


def test_it_brings_the_jobs_the_properties_and_a_text(environment):
    for name in ("run.py", "convert.py", "medians.py", "merge.py"):
        assert (environment / "jobs" / name).read_bytes() == (CHECKOUT / "jobs" / name).read_bytes()
    properties = (environment / "conf" / "spark-cluster.conf").read_text()
    assert "./environment/bin/python" in properties
    text = (environment / "README.txt").read_text()
    assert "some.tar.gz#environment" in text
    assert "median_spark 0.1.0" in text
    assert "@" not in text
