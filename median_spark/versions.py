"""The versions of what computes, for the record."""

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
