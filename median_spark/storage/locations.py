"""Locations as text: one spelling of each path or URI, its pieces, names that fit a file system, and no secrets.

Reads no disk and asks no server.
"""

import hashlib
import os
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from median_spark.errors import UsageError

_OTHER_SPELLINGS = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Schemes that Hadoop or pyarrow also know an object store by."""

_FLAT = frozenset({"s3", "gs", "abfs", "abfss"})
"""Schemes of stores that have keys and no folders: nothing needs to be made before a file is written."""

_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:(?=/)")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/+)([^\s'\"]*)")

_OPTION = re.compile(
    r"\?(?:[^/?]*&)?(endpoint_override|region|scheme|access_key|secret_key|session_token|anonymous|allow_\w+|"
    r"background_writes|check_directory_\w+|tls_\w+|enable_tls|connect_timeout|request_timeout|proxy_options|"
    r"retry_limit_seconds|role_arn|user|replication|kerb_ticket)=[^/]*$"
)
"""An option as pyarrow takes it at the end of a URI. A question mark alone may belong to a key, or to a pattern."""

_SECRET_NAME = (
    r"[\w.-]*(?:signature|token|secret|passw(?:or)?d|credential|access.?key|account.?key|api.?key|private.?key)[\w.-]*"
    r"|sig|sas|pwd|pass|auth|authorization"
)
_SECRET = re.compile(rf"([?&;#]|%3f|%26|%3b|%23)({_SECRET_NAME})(=|%3d)([^&;#\s'\"]*)", re.IGNORECASE)
"""A parameter whose value gives access: of AWS, Google, Azure, or of anybody who calls it what it is."""

_KEY_SCHEMES = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "http", "https"})
"""Schemes whose authority has no part before an ``@`` but a user or a key."""

_LONGEST_NAME = 200
"""Bytes of an encoded name: with what goes before and after it, it must fit the 255 of a file system."""

_ESCAPED = frozenset("\"#%'*/:=?\\{}[]^&<>|`")
"""Always encoded: file systems, Hive's partition names or URIs give these a meaning."""


class Uri(NamedTuple):
    """The pieces of a canonical URI."""

    scheme: str
    authority: str  # a bucket, "container@account.dfs.core.windows.net", or "host:port"; may be empty
    path: str  # the rest, without the slash between; its characters stand for themselves, %2F too


def canonical(location: str | os.PathLike[str]) -> str:
    """Return the one spelling of a location that this package uses.

    Local paths become absolute, ``file:`` is dropped, ``dbfs:/x`` becomes ``/dbfs/x`` but ``dbfs:/Volumes/x``
    ``/Volumes/x``, ``s3a://`` and ``s3n://`` become ``s3://``, and ``gcs://`` becomes ``gs://``. UsageError if the
    location is empty or not text, or a URI carries options or a password: locations are recorded in results.
    """
    text = os.fspath(location)
    if not text:
        message = "an empty path was given where a file or folder is needed"
        raise UsageError(message)
    _refuse_secrets(text)
    if not is_text(text) or "\0" in text:
        message = f"{shown(text)!r}: this path has characters that are not valid UTF-8: rename the file or folder"
        raise UsageError(message)
    text = _SCHEME.sub(lambda match: match.group().lower(), text, count=1)
    if text.startswith("dbfs:/"):
        rest = text.removeprefix("dbfs:").lstrip("/")
        text = f"/{rest}" if rest.startswith("Volumes/") else f"/dbfs/{rest}"
    if text.startswith("file:"):
        text = "/" + text.removeprefix("file:").lstrip("/")
    if "://" in text:
        scheme, rest = text.split("://", 1)
        rest = rest.rstrip("/")
        _refuse_options(scheme, rest)
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
    if _has_keys(name, rest):
        # A key may hold slashes; only what is certainly behind all of it is repeated.
        host = rest.rsplit("@", 1)[-1].split("/", 1)[0] if rest.count("@") == 1 else ""
        message = (
            f"{name}://…@{re.split('[?%]', host)[0]}: a location carries no keys, for it is recorded in what is "
            "written: give them in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile or a role"
        )
        raise UsageError(message)
    secret = _SECRET.search(_decoded(rest))
    if secret is not None:
        host = re.split("[/?%]", rest, maxsplit=1)[0]
        message = (
            f"{name}://{host}/…: a location carries no secret such as '{secret.group(2)}', for it is recorded in what "
            "is written: give a location without it, and credentials in the environment, a profile or a role"
        )
        raise UsageError(message)


def _refuse_options(scheme: str, rest: str) -> None:
    option = _OPTION.search(rest)
    if option:
        message = (
            f"{scheme}://{rest[: option.start()]}: a location carries no options such as '{option.group(1)}', for it "
            "is recorded in what is written: set them in the environment of every process "
            "(AWS_ENDPOINT_URL, AWS_REGION; on a cluster spark.executorEnv.AWS_ENDPOINT_URL)"
        )
        raise UsageError(message)


def _has_keys(scheme: str, rest: str) -> bool:
    """Say whether the text after a scheme carries a user's name and password, or keys.

    A key may hold slashes, so that the ``@`` that ends it comes later than the authority seems to end. The text after a
    colon in an authority is a port, or secret.
    """
    rest = _decoded(rest)
    authority = rest.split("/", 1)[0]
    if "@" in authority:
        return scheme.lower() in _KEY_SCHEMES or ":" in authority.rsplit("@", 1)[0]
    _, colon, port = authority.partition(":")
    return bool(colon) and "@" in rest and not port.isdecimal()


def without_secrets(text: str) -> str:
    """Return a text, such as an error message, with ``…`` for each secret in a URI in it."""

    def without_keys(uri: re.Match[str]) -> str:
        scheme, slashes, rest = uri.groups()
        if not _has_keys(scheme, rest):
            return uri.group()
        return f"{scheme}:{slashes}…@{re.split(r'@|%(?:25)*40', rest, flags=re.IGNORECASE)[-1]}"

    return _SECRET.sub(r"\1\2\3…", _URI.sub(without_keys, text))


def _decoded(text: str) -> str:
    """Undo percent-encoding, also where it was done several times."""
    for _ in range(4):
        text = unquote(text)
    return text


def is_local(location: str) -> bool:
    """Say whether a canonical location is a plain path on this machine."""
    return "://" not in location


def has_folders(location: str) -> bool:
    """Say whether folders of a canonical location exist by themselves, as on a disk, and are not parts of keys."""
    return is_local(location) or location.split("://", 1)[0] not in _FLAT


def split(location: str) -> Uri:
    """Return the pieces of a canonical URI."""
    scheme, rest = location.split("://", 1)
    authority, _, path = rest.partition("/")
    return Uri(scheme, authority, path)


def join(folder: str, *names: str) -> str:
    """Return the location of a name within a folder."""
    return "/".join([folder.rstrip("/"), *names])


def encode_name(name: str) -> str:
    """Encode a name for the name of a folder or file, such as ``source=…``; `decode_name` undoes it.

    The name is url-encoded. Where that is too long for a file system, which is soon so in scripts whose letters take
    three bytes each, letters stand for themselves and only signs with a meaning are encoded.
    """
    encoded = quote(name, safe="")
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return "".join(
        quote(sign, safe="") if sign in _ESCAPED or not (sign.isprintable() or sign == " ") else sign for sign in name
    )


def decode_name(encoded: str) -> str:
    """Return a name from what `encode_name` made of it."""
    return unquote(encoded)


def fitted_name(name: str) -> str:
    """Return a name that fits a file system once encoded: itself, or its beginning and end and a fingerprint."""
    mark = f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}~"
    fitted, kept = name, _LONGEST_NAME
    while len(encode_name(fitted).encode()) > _LONGEST_NAME:
        kept -= 1
        fitted = name[: kept - kept // 2] + mark + name[len(name) - kept // 2 :]
    return fitted


def shown(text: str) -> str:
    r"""Return a name or path of any bytes as text that can be written; bytes that are not UTF-8 become ``\xff``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace") if not is_text(text) else text


def is_text(text: str) -> bool:
    """Say whether a name or path from the operating system is valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
