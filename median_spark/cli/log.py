"""The log file of the command line: what is said, with times, whatever the console shows."""

import contextlib
import logging
import sys
from pathlib import Path

from median_spark.display import TolerantStream
from median_spark.errors import OutputError

LOGGER = logging.getLogger("median_spark")


class _LogFile(logging.FileHandler):
    """Appends to a file; if that fails, such as on a full disk, says so once, and the work goes on without it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is logging's)
        del record
        reason = sys.exception()
        _end(self)
        problem = getattr(reason, "strerror", None) or reason
        stream = TolerantStream(sys.stderr)
        stream.write(f"warning: {self.baseFilename}: the log file cannot be written ({problem}); the work goes on\n")
        stream.flush()


def open_log(path: str) -> None:
    """Append to a file what is logged from now on.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        handler = _LogFile(Path(path), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        message = f"{path}: the log file cannot be written ({error.strerror or error}): name a local file"
        raise OutputError(message) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False  # the console shows it already


def active_logger() -> logging.Logger | None:
    """Return the logger if there is a log file, else None."""
    return LOGGER if any(isinstance(handler, _LogFile) for handler in LOGGER.handlers) else None


def log(level: int, text: str) -> None:
    """Log each line of a text, if there is a log file; without one nothing is logged, nor shown twice."""
    logger = active_logger()
    if logger is not None:
        for line in text.split("\n"):
            logger.log(level, "%s", line)


def close_log() -> None:
    """Close the log file, if there is one."""
    for handler in LOGGER.handlers[:]:
        if isinstance(handler, _LogFile):
            _end(handler)


def _end(handler: _LogFile) -> None:
    LOGGER.removeHandler(handler)
    LOGGER.propagate = True
    with contextlib.suppress(OSError):  # what could not be written before cannot be written now
        handler.close()
