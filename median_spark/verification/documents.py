"""The small files of a table and of a result, read by themselves: nothing is imported from what wrote them."""

import io
import json
import pickle
from typing import Any, cast

from median_spark import storage
from median_spark.errors import TableError

_RESULT_VERSIONS = (1, 2)
TABLE_VERSIONS = (1, 2)
"""Format versions of results, and of tables, that are known here."""


class _Plain(pickle.Unpickler):
    """Reads str, float, int and dict, and rejects whatever would have to be imported."""

    def find_class(self, module: str, name: str) -> Any:
        message = f"it holds {module}.{name} where only plain values may be"
        raise pickle.UnpicklingError(message)


def plain_pickle(result: str, name: str) -> dict[str, Any]:
    """Return a pickled dict of plain values."""
    try:
        return cast("dict[str, Any]", _Plain(io.BytesIO(read(result, name))).load())
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        message = f"{result}: {name} cannot be read ({error})"
        raise TableError(message) from error


def read(folder: str, name: str) -> bytes:
    """Return the bytes of a file that must be there."""
    location = storage.join(folder, name)
    if storage.stat(location) is None:
        message = f"{location}: there is no such file: name an expression table and the result made from it"
        raise TableError(message)
    return storage.read_bytes(location)


def document(folder: str, name: str, versions: tuple[int, ...] = _RESULT_VERSIONS) -> dict[str, Any]:
    """Return a JSON document of one of some format versions, by default of a result's."""
    location = storage.join(folder, name)
    try:
        content: dict[str, Any] = json.loads(read(folder, name))
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{location}: this document is damaged ({type(error).__name__}: {error})"
        raise TableError(message) from error
    check_version(location, version, versions)
    return content


def check_version(location: str, version: object, versions: tuple[int, ...]) -> None:
    """Refuse a document of another format version."""
    if version not in versions:
        known = " and ".join(map(str, versions))
        message = f"{location}: it has format version {version}; this version of median_spark reads {known}"
        raise TableError(message)
