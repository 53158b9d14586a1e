"""Libraries that only some formats need: extras of this package."""

from importlib import import_module
from typing import Any

from median_spark.errors import InputError


def import_extra(location: str, module: str, extra: str) -> Any:
    """Import the library that reading a file needs; InputError with what installs it if it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # it is installed, and what it needs is not
            raise
        message = f"{location}: reading this needs {module}: pip install 'median_spark[{extra}]'"
        raise InputError(message, kind="library missing") from error
