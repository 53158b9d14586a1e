"""Builds the source distribution and the wheel, and packs the wheel and all that it needs but Python and Spark.

Called by ``make package``; the archive is for spark-submit's ``--archives``. It knows nothing of what the package does,
and uses the standard library, pip and build alone.
"""

import argparse
import compileall
import gzip
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

EXTRAS = "azure,h5ad,hdfs"
"""What cannot be installed later on a worker: the filters of compressed h5ad files, the clients of Azure and HDFS."""

_NEVER_INSIDE = frozenset({"pyspark", "py4j", "databricks-connect"})
"""A platform's Spark and its pyspark are of one version; another one on the path would break both."""

_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


def main() -> int:
    """Build all three, and say where they are and which machines the archive fits."""
    parser = argparse.ArgumentParser(description="Build source distribution, wheel and packed environment.")
    parser.add_argument("--out", default="dist", help="folder for all three (default: %(default)s)")
    out = Path(parser.parse_args().out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    print("building the wheel and installing what it needs ...", flush=True)
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=out) as scratch:
        source = build_source(Path(scratch) / "source")
        wheel = build_wheel(source, Path(scratch) / "wheel")
        tree = Path(scratch) / "environment"
        site = tree / "lib" / f"python{PYTHON}" / "site-packages"
        install(wheel, site)
        installed = sorted(distributions(path=[str(site)]), key=lambda found: found.name.lower())
        archive = out / archive_name(wheel.name.split("-")[1], installed)
        fits = f"Python {PYTHON}, {libc_text(platform_tag(installed))}, a processor of type {platform.machine()}"
        furnish(tree, archive.name, installed)
        print("packing ...", flush=True)
        unfinished = Path(scratch) / archive.name
        write_archive(tree, unfinished, made_at())
        source = source.replace(out / source.name)
        wheel = wheel.replace(out / wheel.name)
        unfinished.replace(archive)
    print(f"{shown(source)}  the source distribution")
    print(f"{shown(wheel)}  for pip, where there is one")
    print(f"{shown(archive)}  {archive.stat().st_size / 1e6:,.0f} MB, for spark-submit --archives")
    print(f"It fits machines with {fits}, and a Spark that brings its own pyspark.")
    return 0


def build_source(folder: Path) -> Path:
    """Build this checkout's source distribution into a new folder, and return it."""
    _run("build", "--quiet", "--sdist", "--outdir", str(folder), str(CHECKOUT))
    (source,) = folder.glob("*.tar.gz")
    return source


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel of a source distribution, which shows that it is complete, into a new folder, and return it."""
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, site: Path) -> None:
    """Install a wheel and what it needs, in the versions that the tests run with, into a folder that may be moved.

    Raises
    ------
    SystemExit
        If something among it would stand in the way of a platform's Spark.
    """
    constraints = str(CHECKOUT / "constraints.txt")
    _pip("install", "--no-compile", "--target", str(site), "--constraint", constraints, f"{wheel}[{EXTRAS}]")
    # Scripts whose first line names this machine's Python; and a tenth of the whole, which nothing imports.
    for folder in (site / "bin", *site.rglob("tests")):
        shutil.rmtree(folder, ignore_errors=True)
    foreign = sorted(_NEVER_INSIDE & {found.name.lower() for found in distributions(path=[str(site)])})
    if foreign:
        sys.exit(f"error: {', '.join(foreign)} would be packed over a platform's own: something requires it")


def furnish(tree: Path, archive_name: str, installed: list[Distribution]) -> None:
    """Add to the installed packages what runs them: a Python that finds them, the jobs, the properties, a text.

    Parameters
    ----------
    tree : Path
        The environment, with its packages in ``lib/pythonX.Y/site-packages``.
    archive_name : str
        Of the archive that it shall be, for the text.
    installed : list of Distribution
        Its packages.
    """
    fields = {
        "archive": archive_name,
        "libc": libc_text(platform_tag(installed)),
        "machine": platform.machine(),
        "packages": "\n".join(f"    {found.name} {found.version}" for found in installed),
        "python": PYTHON,
        "version": next(found.version for found in installed if found.name == "median_spark"),
    }
    (tree / "bin").mkdir()
    for name, template in (("python", "python.sh"), ("python3", "python.sh"), ("median-spark", "median-spark.sh")):
        script = tree / "bin" / name
        script.write_text(filled(template, fields), encoding="utf-8")
        script.chmod(0o755)
    (tree / "README.txt").write_text(filled("README.txt", fields), encoding="utf-8")
    shutil.copytree(CHECKOUT / "jobs", tree / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "conf").mkdir()
    shutil.copy(CHECKOUT / "conf" / "spark-cluster.conf", tree / "conf")
    # Else every Python worker compiles it all again. By content, for times change when an archive is unpacked.
    compileall.compile_dir(
        tree / "lib", quiet=2, stripdir=tree, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )


def filled(template: str, fields: dict[str, str]) -> str:
    """Return a file of this folder with each ``@name@`` replaced by its field."""
    text = (HERE / template).read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: fields[found[1]], text)


def archive_name(version: str, installed: list[Distribution]) -> str:
    """Return the archive's name, by which one sees which machines it fits; as a wheel's, with the Python's tag."""
    implementation = "cp" if platform.python_implementation() == "CPython" else platform.python_implementation().lower()
    return f"median_spark-{version}-{implementation}{PYTHON.replace('.', '')}-{platform_tag(installed)}.tar.gz"


def platform_tag(installed: list[Distribution]) -> str:
    """Return the tag of the machines on which all packages run, such as ``manylinux_2_28_x86_64``.

    A package runs wherever one of the platforms that its wheel is tagged with allows; what was compiled on this
    machine runs where the C library is at least as new as here.
    """
    least: tuple[str, tuple[int, int]] | None = None
    for found in installed:
        tags = re.findall(r"^Tag: [^-]+-[^-]+-(\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
        if not tags or "any" in tags:
            continue
        needed = min(map(_needs, tags), key=lambda need: need[1])
        least = max(least or needed, needed, key=lambda need: need[1])
    if least is None:
        return "any"
    return f"{least[0]}_{least[1][0]}_{least[1][1]}_{platform.machine()}"


def _needs(tag: str) -> tuple[str, tuple[int, int]]:
    """Return of a wheel's platform tag the family, and the least version of its C library or operating system."""
    found = re.match(r"(manylinux|musllinux|macosx)_(\d+)_(\d+)_", tag)
    if found:
        return found[1], (int(found[2]), int(found[3]))
    legacy = _LEGACY.get(tag.split("_", 1)[0])
    if legacy:
        return "manylinux", legacy
    if not tag.startswith("linux_"):
        return tag.split("_", 1)[0], (0, 0)
    name, version = platform.libc_ver()
    major, minor = (int(number) for number in version.split(".")[:2])
    return ("manylinux" if name == "glibc" else "musllinux"), (major, minor)


def libc_text(tag: str) -> str:
    """Say in words what a platform tag asks of a machine's operating system."""
    found = re.match(r"(manylinux|musllinux|macosx)_(\d+)_(\d+)_", tag)
    if found is None:
        return "any operating system" if tag == "any" else f"an operating system of type {tag}"
    name = {"manylinux": "Linux with glibc", "musllinux": "Linux with musl", "macosx": "macOS"}[found[1]]
    return f"{name} {found[2]}.{found[3]} or newer"


def made_at() -> int:
    """Return the time that all files of the archive get, in seconds since 1970: that of the last commit.

    Not the same for all versions: code that numba compiled for one file must not be taken for another one's.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    told = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if told.returncode == 0:
        return int(told.stdout)
    return int(max(path.stat().st_mtime for path in (CHECKOUT / "median_spark").rglob("*.py")))


def write_archive(tree: Path, target: Path, time: int) -> None:
    """Write all files of a folder into a ``.tar.gz``, the same bytes for the same files.

    Parameters
    ----------
    tree : Path
        What lies in it lies at the archive's root.
    target : Path
        The archive.
    time : int
        Seconds since 1970, the modification time of every file.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = time
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).parts):
            archive.add(path, arcname=path.relative_to(tree).as_posix(), recursive=False, filter=plain)


def shown(path: Path) -> str:
    """Return a path as one would type it here."""
    return os.path.relpath(path)


def _pip(command: str, *arguments: str) -> None:
    _run("pip", "-qq", "--disable-pip-version-check", command, *arguments)


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}error: {module} failed; see its output above")


if __name__ == "__main__":
    sys.exit(main())
