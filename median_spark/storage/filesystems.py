"""The pyarrow filesystem that a location is on: made once per process, with retries, and released before it ends."""

import atexit
import os
import threading
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from pyarrow import fs

from median_spark.errors import UsageError
from median_spark.guard import fork_no_more
from median_spark.storage.buckets import azure, google_requester_pays, s3_requester_pays
from median_spark.storage.hdfs import hdfs
from median_spark.storage.locations import Uri, is_local, split, without_secrets

_ATTEMPTS = 10
"""Tries per request: the waits between them double and add up to about 25 seconds."""

_CONNECT_SECONDS = 5.0

_GOOGLE_RETRIES = timedelta(seconds=30)
"""How long Google's client goes on with a request; it would for a quarter of an hour."""

_GOOGLE_ENDPOINTS = ("STORAGE_EMULATOR_HOST", "CLOUD_STORAGE_EMULATOR_ENDPOINT")

_VARIABLES = (
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REQUEST_PAYER", "GS_USER_PROJECT",
    "GOOGLE_APPLICATION_CREDENTIALS", *_GOOGLE_ENDPOINTS,
    "GS_NO_SIGN_REQUEST", "AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_USE_AZURE_CLI",
    "HADOOP_CONF_DIR", "HADOOP_HOME", "HADOOP_USER_NAME",
)  # fmt: skip
"""They decide how stores are reached: where keys in the environment are renewed, the new ones are used.

`AWS_REQUEST_PAYER`, `GS_USER_PROJECT` and `GS_NO_SIGN_REQUEST` have the names that GDAL gave them, Google's endpoint
those of Google's own clients, and Azure's keys those of `az`.
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
    if uri.scheme == "gs":
        return _make_google(uri.authority), uri.authority
    if uri.scheme in {"abfs", "abfss"}:
        container, _, host = uri.authority.partition("@")
        return _make_azure(container, host), container
    if uri.scheme == "hdfs":
        return hdfs(uri.authority), "/"
    return cast("tuple[fs.FileSystem, str]", fs.FileSystem.from_uri(f"{uri.scheme}://{uri.authority}/"))


def _make_google(bucket: str) -> fs.FileSystem:
    """Set up Google's store, with application default credentials unless there is another endpoint."""
    if not bucket:
        message = "a location on Google Cloud Storage needs a bucket: gs://bucket/key"
        raise ValueError(message)
    endpoint = next(filter(None, map(os.environ.get, _GOOGLE_ENDPOINTS)), None)
    project = os.environ.get("GS_USER_PROJECT")
    if project:
        options = {"base_url": endpoint, "skip_signature": True} if endpoint else {}
        return google_requester_pays(bucket, project, options)
    anonymous = endpoint is not None or os.environ.get("GS_NO_SIGN_REQUEST", "").upper() in {"YES", "TRUE", "1"}
    scheme, host = _endpoint(endpoint, "STORAGE_EMULATOR_HOST") if endpoint else (None, None)
    return fs.GcsFileSystem(
        anonymous=anonymous, scheme=scheme, endpoint_override=host, retry_time_limit=_GOOGLE_RETRIES
    )


def _make_azure(container: str, host: str) -> fs.FileSystem:
    """Set up Azure's store, with credentials from where obstore finds them: the environment, the machine's identity."""
    account, _, domain = host.partition(".")
    service, _, cloud = domain.partition(".")  # "dfs" or "blob", and "core.windows.net" or another cloud's
    if not container or not account or service not in {"dfs", "blob"}:
        message = "a location on Azure is like abfs://container@account.dfs.core.windows.net/key"
        raise ValueError(message)
    options = {}
    endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT")
    if endpoint:
        _endpoint(endpoint, "AZURE_STORAGE_ENDPOINT")
    elif cloud != "core.windows.net":
        options["endpoint"] = f"https://{account}.blob.{cloud}"
    for name, variable in (("account_key", "AZURE_STORAGE_KEY"), ("sas_key", "AZURE_STORAGE_SAS_TOKEN")):
        if os.environ.get(variable):  # az knows them by these names
            options[name] = os.environ[variable]
    return azure(container, account, options)


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
        options["scheme"], options["endpoint_override"] = _endpoint(endpoint, "AWS_ENDPOINT_URL")
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
        _endpoint(endpoint, "AWS_ENDPOINT_URL")
        return s3_requester_pays(bucket, {"endpoint": endpoint, "region": region or "us-east-1"})
    return s3_requester_pays(bucket, {"region": region or _region_of(bucket) or "us-east-1"})


def _endpoint(endpoint: str, variable: str) -> tuple[str, str]:
    """Return scheme and the rest of a URL, which may lack its scheme; ValueError naming the variable that has it."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        message = f"{variable} is '{without_secrets(endpoint)}'; it must be like https://host:port"
        raise ValueError(message)
    return parts.scheme, f"{parts.netloc}{parts.path}".rstrip("/")


def _region_of(bucket: str) -> str | None:
    """Return the region that a bucket is in, or None where nobody tells: then the SDK looks for one."""
    try:
        return str(fs.resolve_s3_region(bucket))
    except OSError:
        return None
