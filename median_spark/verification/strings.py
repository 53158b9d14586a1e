"""Strings as HDF5 files hold them."""

from typing import Any

import numpy as np
import numpy.typing as npt


class DamagedTextError(Exception):
    """A text with bytes after the NUL that ends it; the message does not name the file."""


def texts(found: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return strings decoded, bytes that are no UTF-8 spelled out, and anything else as it is."""
    if found.dtype.kind not in "OS":
        return found
    strings = found.tolist()
    for entry, text in enumerate(strings):
        if isinstance(text, bytes) and b"\0" in text:
            message = f"the text {text[:100]!r} at entry {entry:,} of a list has bytes after the NUL that ends it"
            raise DamagedTextError(message)
    return np.array(
        [text.decode(errors="backslashreplace") if isinstance(text, bytes) else str(text) for text in strings],
        dtype=object,
    )
