"""Locations as text: one spelling for each path or URI, and its pieces. Looks at no disk and asks no server."""

import os
import re
from typing import NamedTuple

from median_spark.errors import UsageError
from median_spark.storage.names import is_text, shown
from median_spark.storage.secrets import find_parameter, has_keys, without_secrets

__all__ = ["Uri", "canonical", "has_folders", "is_local", "join", "split", "without_secrets"]

_OTHER_SPELLINGS = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Schemes that Hadoop or pyarrow also know an object store by."""

_FLAT = frozenset({"s3", "gs", "abfs", "abfss"})
"""Schemes of stores that have keys and no folders: nothing is to be made before a file is written."""

_OPTION = re.compile(
    r"\?(?:[^/?]*&)?(endpoint_override|region|scheme|access_key|secret_key|session_token|anonymous|allow_\w+|"
    r"background_writes|check_directory_\w+|tls_\w+|enable_tls|connect_timeout|request_timeout|proxy_options|"
    r"retry_limit_seconds|role_arn|user|replication|kerb_ticket)=[^/]*$"
)
"""An option as pyarrow takes it at the end of a URI. A question mark alone may belong to a key, or to a pattern."""


_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:(?=/)")


class Uri(NamedTuple):
    """The pieces of a canonical URI.

    Attributes
    ----------
    scheme : str
        ``"s3"``.
    authority : str
        A bucket, ``container@account.dfs.core.windows.net``, or ``host:port``; may be empty.
    path : str
        What follows, without the slash between; its characters stand for themselves, ``%2F`` too.
    """

    scheme: str
    authority: str
    path: str


def canonical(location: str | os.PathLike[str]) -> str:
    """Return the one spelling of a location that this package uses.

    Local paths become absolute, ``file:`` is dropped, ``dbfs:/x`` becomes ``/dbfs/x`` but ``dbfs:/Volumes/x``
    ``/Volumes/x``, ``s3a://`` and ``s3n://`` become ``s3://``, and ``gcs://`` becomes ``gs://``.

    Parameters
    ----------
    location : str or path
        A path or a URI.

    Raises
    ------
    UsageError
        If the location is empty or no text, or a URI carries options or a password: locations are recorded in what is
        written.
    """
    text = os.fspath(location)
    if not text:
        message = "an empty path was given where a file or folder is needed"
        raise UsageError(message)
    _refuse_secrets(text)
    if not is_text(text) or "\0" in text:
        message = f"{shown(text)!r}: this path has characters that are not valid UTF-8: rename the file or folder"
        raise UsageError(message)
    text = _SCHEME.sub(lambda found: found.group().lower(), text, count=1)
    if text.startswith("dbfs:/"):
        rest = text.removeprefix("dbfs:").lstrip("/")
        text = f"/{rest}" if rest.startswith("Volumes/") else f"/dbfs/{rest}"
    if text.startswith("file:"):
        text = "/" + text.removeprefix("file:").lstrip("/")
    if "://" in text:
        scheme, rest = text.split("://", 1)
        rest = rest.rstrip("/")
        _refuse_extras(scheme, rest)
        return f"{_OTHER_SPELLINGS.get(scheme, scheme)}://{rest}"
    # Not pathlib's: resolve() follows links, and expanduser() fails on a name like ~backup.loom.
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111
    return "/" + path.lstrip("/")  # POSIX lets two leading slashes stand


def _refuse_secrets(text: str) -> None:
    """Refuse a URI that carries keys, a password or a signature, without repeating any of it."""
    # Also with one slash: shells and pathlib make s3:/bucket of s3://bucket.
    scheme = _SCHEME.match(text)
    if scheme is None or scheme.group().lower() in {"file:", "dbfs:"}:
        return
    name, rest = scheme.group()[:-1], text[scheme.end() :].lstrip("/")
    if has_keys(name, rest):
        # A key may hold slashes; only what is certainly behind all of it is repeated.
        host = rest.rsplit("@", 1)[-1].split("/", 1)[0] if rest.count("@") == 1 else ""
        message = (
            f"{name}://…@{re.split('[?%]', host)[0]}: a location carries no keys, for it is recorded in what is "
            "written: give them in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile or a role"
        )
        raise UsageError(message)
    parameter = find_parameter(rest)
    if parameter is not None:
        host = re.split("[/?%]", rest, maxsplit=1)[0]
        message = (
            f"{name}://{host}/…: a location carries no secret such as '{parameter}', for it is recorded in what is "
            "written: give a location without it, and credentials in the environment, a profile or a role"
        )
        raise UsageError(message)


def _refuse_extras(scheme: str, rest: str) -> None:
    found = _OPTION.search(rest)
    if found:
        message = (
            f"{scheme}://{rest[: found.start()]}: a location carries no options such as '{found.group(1)}', for it is "
            "recorded in what is written: set them in the environment of every process "
            "(AWS_ENDPOINT_URL, AWS_REGION; on a cluster spark.executorEnv.AWS_ENDPOINT_URL)"
        )
        raise UsageError(message)


def is_local(location: str) -> bool:
    """Say whether a canonical location is a plain path on this machine."""
    return "://" not in location


def has_folders(location: str) -> bool:
    """Say whether a canonical location's folders are things of their own, as on a disk, and not parts of keys."""
    return is_local(location) or location.split("://", 1)[0] not in _FLAT


def split(location: str) -> Uri:
    """Return the pieces of a canonical URI."""
    scheme, rest = location.split("://", 1)
    authority, _, path = rest.partition("/")
    return Uri(scheme, authority, path)


def join(folder: str, *names: str) -> str:
    """Return the location of a name within a folder."""
    return "/".join([folder.rstrip("/"), *names])
