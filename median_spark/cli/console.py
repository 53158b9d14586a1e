"""Standard output and error of the command line: the one place where text leaves for a terminal, a pipe or a file.

A reader that has seen enough is no error. An output that cannot be written for another reason, such as a full disk, is
one, which is said on standard error; the work does not depend on either.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from median_spark.cli.log import log
from median_spark.cli.summary import Line, Mark, aligned
from median_spark.display import TolerantStream, printable
from median_spark.errors import OutputError

_LEVELS = {Mark.PLAIN: logging.INFO, Mark.WARNING: logging.WARNING, Mark.FAILED: logging.ERROR}


def prepare_streams() -> None:
    """Let both streams take any text: also where one is closed, or its encoding lacks a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(lines: Iterable[str], *, kept: str | None = None) -> None:
    """Print lines to standard output; `kept` is the result, which exists whether or not they can be printed."""
    _print(map(printable, lines), kept)


def say_summary(lines: Sequence[Line], *, kept: str) -> None:
    """Print a summary as `say` does; on a terminal warnings are yellow and failures red, unless NO_COLOR is set."""
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    texts = map(printable, aligned(lines))
    marks = [line.mark if colours else Mark.PLAIN for line in lines]
    _print(
        (
            text if mark is Mark.PLAIN else f"\x1b[{mark.value}m{text}\x1b[0m"
            for text, mark in zip(texts, marks, strict=True)
        ),
        kept,
    )


def log_summary(lines: Sequence[Line]) -> None:
    """Write a summary to the log file, if there is one."""
    for line, text in zip(lines, aligned(lines), strict=True):
        log(_LEVELS[line.mark], printable(text))


def _print(texts: Iterable[str], kept: str | None) -> None:
    try:
        for text in texts:
            print(text)
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            message = _unwritable(error) + (f"; the work is done: see {kept}" if kept else "")
            raise OutputError(message) from error


def complain(text: str) -> None:
    """Print a text of one or more lines to standard error, as far as it can be written, and log it as an error."""
    lines = [printable(line) for line in text.split("\n")]
    stream = TolerantStream(sys.stderr)
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()
    log(logging.ERROR, "\n".join(lines))


def settle_streams() -> bool:
    """Flush both streams, so that the interpreter meets no error when it ends; return whether output is complete."""
    complete = True
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        complete = isinstance(error, BrokenPipeError)
        if not complete:
            complain(f"error: {_unwritable(error)}")
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return complete


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, but nothing in it that a terminal would obey."""
    complain("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"))
    settle_streams()


def _unwritable(error: OSError) -> str:
    return f"standard output cannot be written ({error.strerror or error})"


def _discard(stream: TextIO) -> None:
    """Let the null device take what a stream still holds, and what is written to it from now on."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
        stream.flush()
    except io.UnsupportedOperation:  # a stream that is no file, as in a notebook
        pass
    finally:
        os.close(null)
