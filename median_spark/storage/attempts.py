"""Doing again what a store has failed at for a moment, and saying so when it goes on failing.

The SDK beneath pyarrow retries single requests for half a minute. This is for what it does not cover: reads of fewer
bytes than the store's words of refusal have (pyarrow gives these no more room than what was asked for), deletions and
copies that fail within an answer that says 200, connections that break off, and outages of a few minutes.
"""

import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from median_spark.errors import StorageError
from median_spark.storage.locations import is_local

Found = TypeVar("Found")

_WAITS = (0.3, 2.0, 8.0, 20.0)
"""Seconds between the attempts, on top of those that the SDK makes."""

_PASSING = re.compile(
    r"slow.?down|service.?unavailable|internal.?(failure|error)|throttl|request.?time(d.?)?out|timed out|curlcode|"
    r"network.?connection|connection (was )?(reset|refused|closed)|http status 5\d\d|response code 5\d\d|"
    r"unexpected end|expected \d+ bytes",
    re.IGNORECASE,
)
"""What the messages of AWS, Google and Azure say of trouble that passes."""

_REFUSED = re.compile(
    r"access.?denied|forbidden|http status 40[13]|invalid.?access.?key|signature.?does.?not.?match|expired.?token|"
    r"no.?credentials|not authorized",
    re.IGNORECASE,
)


def is_passing(error: BaseException) -> bool:
    """Say whether an error is that of a store which may well do what it was asked a little later."""
    return isinstance(error, OSError) and bool(_PASSING.search(str(error)))


def attempted(location: str, action: Callable[[], Found]) -> Found:
    """Do something at a location that does no harm when done twice; on a store, again where it fails for a moment.

    Parameters
    ----------
    location : str
        Canonical; on a local disk the action is done once, and its errors are its own.
    action : callable
        What to do.

    Raises
    ------
    FileNotFoundError
        If the store says that there is no such thing.
    PermissionError
        If it does not let this user.
    StorageError
        If it fails in another way, and does so again and again where that may pass.
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
            if wait is None or not is_passing(error):
                raise unreachable(location, error) from error
            time.sleep(wait * random.uniform(0.5, 1.5))
    raise AssertionError  # the last round returns or raises


def unreachable(location: str, error: BaseException) -> StorageError:
    """Return the error that says what a store has failed at."""
    return StorageError(
        f"{location}: this location does not answer as it should ({error}): see to the network, the endpoint "
        "(AWS_ENDPOINT_URL), the region (AWS_REGION) and the bucket's name, and run this again: it resumes"
    )


def uninterrupted(action: Callable[[], Found]) -> Found:
    """Do something to its end although Ctrl-C is pressed; the interrupt comes then.

    Python lets an interrupt break into the main thread only, so that it is done in another one.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(action).result()
