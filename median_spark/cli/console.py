"""Standard output and error of the command line: the one place where text leaves for a terminal, a pipe or a file.

A reader that has seen enough is no error. An output that cannot be written for another reason, such as a full disk, is
one, which is said on standard error; the work does not depend on either.
"""

import io
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from median_spark.display import TolerantStream, printable
from median_spark.errors import OutputError


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
    try:
        for line in lines:
            print(printable(line))
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            message = _unwritable(error) + (f"; the work is done: see {kept}" if kept else "")
            raise OutputError(message) from error


def complain(text: str) -> None:
    """Print a text of one or more lines to standard error, as far as it can be written."""
    stream = TolerantStream(sys.stderr)
    stream.write("".join(f"{printable(line)}\n" for line in text.split("\n")))
    stream.flush()


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
