"""Locations as text: one spelling for each path or URI, and its pieces. Looks at no disk and asks no server."""

import os
import re
from typing import NamedTuple

from median_spark.errors import UsageError

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
        If the location is empty, or a URI carries options or a password: locations are recorded in what is written.
    """
    text = os.fspath(location)
    if not text:
        message = "an empty path was given where a file or folder is needed"
        raise UsageError(message)
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


def _refuse_extras(scheme: str, rest: str) -> None:
    authority = rest.split("/", 1)[0]
    if scheme in {"s3", "s3a", "s3n"} and "@" in authority:
        message = (
            f"{scheme}://…@{authority.rsplit('@', 1)[1]}: a location carries no keys, for it is recorded in what is "
            "written: give them in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile or a role"
        )
        raise UsageError(message)
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
