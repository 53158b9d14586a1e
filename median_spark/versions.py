"""The versions of what computes, for the record, and the code itself, which builds of one version may differ in."""

from functools import cache

__version__ = "0.2.0"

_LIBRARIES = ("crick", "h5py", "numpy", "pandas", "pyarrow", "pyspark")


def software_versions() -> dict[str, str]:
    """Return name and version of this package, of Python and of the libraries that are installed."""
    # Here, because this module is imported before `__main__` has taken the current folder off the path.
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version

    versions = {"median_spark": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            # A platform's own pyspark is on the path, but was not installed as a package.
            loaded = getattr(sys.modules.get(name), "__version__", None)
            if loaded is not None:
                versions[name] = str(loaded)
    return versions


@cache
def code_version() -> str:
    """Return this package's version with a fingerprint of its code, such as ``0.2.0 (code 92f816c2cbcd)``."""
    import hashlib
    from importlib.resources import files

    found = hashlib.sha256()
    folders = [("", files(__package__))]
    while folders:
        at, folder = folders.pop()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            name = f"{at}/{entry.name}"
            if entry.is_dir():
                folders.append((name, entry))
            elif name.endswith(".py"):
                found.update(b"%b\0%b\0" % (name.encode(), entry.read_bytes()))
    return f"{__version__} (code {found.hexdigest()[:12]})"
