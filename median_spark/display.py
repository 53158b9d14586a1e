"""Text on its way to people: nothing in it controls a terminal, and an output that breaks never stops the work.

Every text that may hold part of a file passes `printable` once, where it leaves the program.
"""

import contextlib
import os
from typing import TextIO


def printable(text: str) -> str:
    r"""Return one line of text in which whatever a terminal would obey is shown as an escape.

    Control characters, line breaks, direction marks, invisible characters and undecodable bytes become what Python's
    `repr` makes of them: ``\x1b``, ``\n``, ``\u202e``, ``\udcff``.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class TolerantStream:
    """A text stream for progress, None where it is closed: text that cannot be written to it is lost silently."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """Name of the encoding, which decides how a bar is drawn."""
        return getattr(self._stream, "encoding", None) or "ascii"

    def isatty(self) -> bool:
        """Say whether this is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        """Write what can be written."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # a closed pipe or a full disk concerns the reader, not the work
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be written."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.flush()


def fill_standard_descriptors() -> None:
    """Open the null device as standard input, output and error where these are closed.

    Otherwise the next file that is opened becomes standard output or error, and what is printed goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
