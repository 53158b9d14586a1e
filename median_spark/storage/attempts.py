"""Retries where a store fails for a moment, and one clear error where it goes on failing.

The SDK beneath pyarrow retries single requests for half a minute. This covers the rest: reads of fewer bytes than the
store's error text has (pyarrow gives it no more room than what was asked for), deletions and copies that fail within an
answer that says 200, connections that break off, and outages of a few minutes.
"""

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from median_spark.errors import StorageError
from median_spark.storage.locations import is_local

Result = TypeVar("Result")

UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError)
"""What pyarrow raises over files that it cannot read; the last where its message quotes bytes that are no UTF-8."""

_WAITS = (0.3, 2.0, 8.0, 20.0)
"""Seconds between the attempts, on top of those that the SDK makes."""

_TRANSIENT = re.compile(
    r"slow.?down|service.?unavailable|internal.?(failure|error)|throttl|request.?time(d.?)?out|timed out|curlcode|"
    r"network.?connection|connection (was )?(reset|refused|closed)|http status 5\d\d|response code 5\d\d|"
    r"unexpected end|expected \d+ bytes|retry policy exhausted|error sending request|server.?busy|"
    r"status\((unavailable|internal|deadline_exceeded|resource_exhausted|aborted)",
    re.IGNORECASE,
)
"""Words of AWS, Google and Azure for trouble that passes."""

_REFUSED = re.compile(
    r"access.?denied|forbidden|http status 40[13]|invalid.?access.?key|signature.?does.?not.?match|expired.?token|"
    r"no.?credentials|not authorized",
    re.IGNORECASE,
)


def with_retries(location: str, action: Callable[[], Result]) -> Result:
    """Do something that does no harm when done twice; at a store, again where that fails for a moment.

    At a canonical location on a local disk it is done once, and its errors are its own. A store's errors are
    FileNotFoundError, PermissionError if it does not let this user, and else StorageError.
    """
    if is_local(location):
        return action()
    for wait in (*_WAITS, None):
        try:
            return action()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            if _REFUSED.search(str(error)):
                raise PermissionError(str(error)) from error
            if wait is None or not _TRANSIENT.search(str(error)):
                raise unreachable(location, error) from error
            time.sleep(wait * random.uniform(0.5, 1.5))
    raise AssertionError  # the last round returns or raises


def unreachable(location: str, error: BaseException) -> StorageError:
    """Return the error for a store that goes on failing."""
    reached, _ = _variables(location)
    return StorageError(
        f"{location}: this location does not answer as it should ({error}): see to the network, {reached} and the "
        "bucket's name, and run this again: it resumes"
    )


def refused(location: str, error: BaseException) -> StorageError:
    """Return the error for a store that does not let this user."""
    _, credentials = _variables(location)
    return StorageError(
        f"{location}: this user may not access this location ({error}): check the credentials, in the environment "
        f"({credentials}) or the machine's role, and to what they permit"
    )


def _variables(location: str) -> tuple[str, str]:
    """Return which settings in the environment say how a store is reached, and by whom."""
    scheme = location.split("://", 1)[0]
    if scheme == "s3":
        keys = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE"
        return "the endpoint (AWS_ENDPOINT_URL), the region (AWS_REGION)", keys
    if scheme == "gs":
        return "the endpoint (STORAGE_EMULATOR_HOST)", "GOOGLE_APPLICATION_CREDENTIALS"
    if scheme in {"abfs", "abfss"}:
        keys = "AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID"
        return "the account, the endpoint (AZURE_STORAGE_ENDPOINT)", keys
    return "the address", "HADOOP_USER_NAME"
