"""Strings as HDF5 files hold them."""

from typing import Any

import numpy as np
import numpy.typing as npt


def texts(found: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return strings decoded, bytes that are no UTF-8 spelled out, and anything else as it is."""
    if found.dtype.kind not in "OS":
        return found
    return np.array(
        [text.decode(errors="backslashreplace") if isinstance(text, bytes) else str(text) for text in found.tolist()],
        dtype=object,
    )
