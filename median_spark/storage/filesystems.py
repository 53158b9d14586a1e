"""The pyarrow filesystem that a location is on: made once per process, with retries, and released before it ends."""

import atexit
import os
import threading
from typing import Any, cast
from urllib.parse import urlsplit

from pyarrow import fs

from median_spark.errors import UsageError
from median_spark.guard import fork_no_more
from median_spark.storage.locations import Uri, is_local, split, without_secrets
from median_spark.storage.requester_pays import google_requester_pays, s3_requester_pays

_ATTEMPTS = 10
"""Tries per request: the waits between them double and add up to about 25 seconds."""

_CONNECT_SECONDS = 5.0

_VARIABLES = (
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REQUEST_PAYER", "GS_USER_PROJECT",
)  # fmt: skip
"""They decide how stores are reached: where keys in the environment are renewed, the new ones are used.

`AWS_REQUEST_PAYER` and `GS_USER_PROJECT` say who is billed for requests, under the names that GDAL gave them.
"""

_Made = dict[tuple[str | None, ...], tuple[fs.FileSystem, str]]


class _Filesystems:
    """The filesystems of this process, by scheme, authority, and `_VARIABLES`."""

    def __init__(self) -> None:
        self._made: _Made = {}
        self._inherited: list[_Made] = []
        self._making = threading.Lock()
        # Registered after pyarrow's own, and so called before: it waits for filesystems that are still in use.
        atexit.register(lambda: self._made.clear())
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def get(self, uri: Uri) -> tuple[fs.FileSystem, str]:
        """Return the filesystem, and the path in it of the authority."""
        with self._making:
            key = (uri.scheme, uri.authority, *map(os.environ.get, _VARIABLES))
            if key not in self._made:
                fork_no_more()  # a store's client has threads of its own
                self._made[key] = _make(uri)
            return self._made[key]

    def _leave_to_parent(self) -> None:
        """Use none that was made before a fork: its threads are not in this process, and closing it waits for them."""
        self._making = threading.Lock()
        self._inherited.append(self._made)
        self._made = {}


_FILESYSTEMS = _Filesystems()


def resolve(location: str) -> tuple[fs.FileSystem, str]:
    """Return the pyarrow filesystem of a canonical location, and the path in it; UsageError if there is none."""
    if is_local(location):
        return fs.LocalFileSystem(), location
    uri = split(location)
    try:
        filesystem, root = _FILESYSTEMS.get(uri)
    except (ValueError, OSError, ImportError) as error:
        message = f"{location}: this location cannot be reached ({error})"
        raise UsageError(message) from error
    # Not pyarrow's from_uri for the whole: it takes %2F in a key for a slash, and we write such keys.
    return filesystem, f"{root.rstrip('/')}/{uri.path}" if uri.path else root


def _make(uri: Uri) -> tuple[fs.FileSystem, str]:
    if uri.scheme == "s3":
        return _make_s3(uri.authority), uri.authority
    project = os.environ.get("GS_USER_PROJECT")
    if uri.scheme == "gs" and project:
        endpoint = os.environ.get("CLOUD_STORAGE_EMULATOR_ENDPOINT")  # as for Google's own clients
        options = {"base_url": endpoint, "skip_signature": True} if endpoint else {}
        return google_requester_pays(uri.authority, project, options), uri.authority
    return cast("tuple[fs.FileSystem, str]", fs.FileSystem.from_uri(f"{uri.scheme}://{uri.authority}/"))


def _make_s3(bucket: str) -> fs.FileSystem:
    """Set up S3, with credentials from where pyarrow finds them: the environment, a profile, the machine's role."""
    if not bucket:
        message = "a location on S3 needs a bucket: s3://bucket/key"
        raise ValueError(message)
    payer = os.environ.get("AWS_REQUEST_PAYER")
    if payer:
        return _make_billed_s3(bucket, payer)
    # Not the standard strategy, pyarrow's default: it allows a process a hundred retries in its life, and fails then.
    options: dict[str, Any] = {
        "retry_strategy": fs.AwsDefaultS3RetryStrategy(max_attempts=_ATTEMPTS),
        "connect_timeout": _CONNECT_SECONDS,
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options |= _endpoint_options(endpoint)
        options["region"] = options["region"] or "us-east-1"  # else asked of a machine that may not exist
    elif not options["region"]:
        options["region"] = _region_of(bucket)
    try:
        return fs.S3FileSystem(allow_delayed_open=True, **options)  # one request for a small file, and not three
    except TypeError:  # pyarrow before 21 lacks that option
        return fs.S3FileSystem(**options)


def _make_billed_s3(bucket: str, payer: str) -> fs.FileSystem:
    if payer != "requester":
        message = f"AWS_REQUEST_PAYER is '{payer}'; it must be 'requester', or not be set"
        raise ValueError(message)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        _endpoint_options(endpoint)
        return s3_requester_pays(bucket, {"endpoint": endpoint, "region": region or "us-east-1"})
    return s3_requester_pays(bucket, {"region": region or _region_of(bucket) or "us-east-1"})


def _endpoint_options(endpoint: str) -> dict[str, str]:
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        message = f"AWS_ENDPOINT_URL is '{without_secrets(endpoint)}'; it must be like https://host:port"
        raise ValueError(message)
    return {"scheme": parts.scheme, "endpoint_override": f"{parts.netloc}{parts.path}".rstrip("/")}


def _region_of(bucket: str) -> str | None:
    """Return the region that a bucket is in, or None where nobody tells: then the SDK looks for one."""
    try:
        return str(fs.resolve_s3_region(bucket))
    except OSError:
        return None
