"""What pickles of plain values name: numpy's arrays, scalars and dtypes, and a few builtins.

They are rebuilt here, without numpy's own functions for it, which trust what they are given.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from median_spark.unpickling.kinds import Begun, ForeignError, Global, Rebuild, all_hashable, expect

_NUMPY_VERSIONS = ("numpy.core", "numpy._core")
"""Where numpy 1 and numpy 2 keep what their pickles name."""

_SIMPLE_DTYPE = re.compile(r"(b1|[iu][1248]|f[248]|c8|c16|[SUV][0-9]{1,9})")
_MOST_AXES, _LONGEST_AXIS, _MOST_FIELDS = 32, 2**48, 256


def _encode(text: str, encoding: str) -> bytes:
    if expect(encoding, str) not in ("latin1", "latin-1"):
        message = f"bytes are pickled as latin1, not {encoding}"
        raise ValueError(message)
    return str.encode(expect(text, str), "latin1")


def _bytes() -> bytes:
    return b""


def _byte_array(text: Any = b"", encoding: str = "latin1") -> bytearray:
    return bytearray(text if type(text) is bytes else _encode(text, encoding))


def _set(items: list[Any]) -> set[Any]:
    return set(all_hashable(expect(items, list)))


def _frozen_set(items: list[Any]) -> frozenset[Any]:
    return frozenset(all_hashable(expect(items, list)))


def _complex(real: float, imaginary: float) -> complex:
    return complex(expect(real, float), expect(imaginary, float))


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _begun_array(kind: Global, shape: tuple[int, ...], code: bytes) -> Begun:
    if expect(kind, Global).name != "numpy.ndarray":
        raise ForeignError(kind.name)
    return Begun(_array_of_state, (shape, code))


def _array_of_state(_: tuple[Any, ...], state: tuple[Any, ...]) -> object:
    """Make the array that numpy's ``ndarray.__setstate__`` would."""
    _, shape, dtype, fortran, content = state
    return _array(expect(content, bytes), dtype, shape, "F" if fortran else "C")


def _array(content: bytes | bytearray, dtype: Any, shape: tuple[int, ...], order: str) -> object:
    """Make an array over bytes whose number is just what its shape and dtype need."""
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, np.dtype) or order not in ("C", "F"):
        message = "an array needs bytes, a dtype, and an order"
        raise TypeError(message)
    size = dtype.itemsize
    if len(expect(shape, tuple)) > _MOST_AXES or not all(type(n) is int and 0 <= n < _LONGEST_AXIS for n in shape):
        message = f"an array cannot have the shape {_shown(shape)}"
        raise ValueError(message)
    for length in shape:
        size *= length
    if size != len(content) or not dtype.itemsize:
        message = f"an array of {_shown(shape)} {dtype} has {size:,} bytes, not {len(content):,}"
        raise ValueError(message)
    flat = np.frombuffer(bytes(content), dtype) if content else np.zeros(0, dtype)
    made = flat.reshape(shape, order="F" if order == "F" else "C")
    made.flags.writeable = False
    return made


def _shown(shape: Sequence[object]) -> str:
    return f"({', '.join(str(length)[:20] for length in shape[:4])}{', …' if len(shape) > 4 else ''})"


def _scalar(dtype: Any, content: bytes = b"") -> object:
    if not isinstance(dtype, np.dtype) or dtype.kind == "V":
        message = f"a numpy scalar cannot be of {dtype}"
        raise TypeError(message)
    if not dtype.itemsize and not content:
        return dtype.type()
    made: Any = _array(expect(content, bytes), dtype, (1,), "C")
    return made[0]


def _dtype_of_state(arguments: tuple[Any, ...], state: tuple[Any, ...]) -> object:
    """Make the dtype that numpy's ``dtype.__setstate__`` would: a simple one, or one of simple fields."""
    code, order, subarray, names, fields = arguments[0], *state[1:5]
    if not isinstance(code, str) or not _SIMPLE_DTYPE.fullmatch(code):
        raise ForeignError("an array of Python objects" if str(code).startswith("O") else f"the dtype {code!r:.40}")
    if subarray is not None or (len(state) > 8 and state[8]):
        message = "a dtype of arrays, or with metadata"
        raise ForeignError(message)
    if order not in ("<", ">", "|", "="):
        message = f"a byte order cannot be {order!r:.40}"
        raise ValueError(message)
    if names is None:
        return np.dtype(code).newbyteorder(order)
    if len(expect(names, tuple)) > _MOST_FIELDS or not all(type(name) is str for name in names):
        message = "a dtype has up to 256 fields, named by strings"
        raise ValueError(message)
    parts = [expect(expect(fields, dict)[name], tuple) for name in names]
    if not all(isinstance(part[0], np.dtype) and part[0].names is None for part in parts):
        message = "a dtype of fields of fields"
        raise ForeignError(message)
    formats, offsets = tuple(part[0] for part in parts), tuple(expect(part[1], int) for part in parts)
    return _structured(names, formats, offsets, int(code[1:]))


@lru_cache(maxsize=64)
def _structured(names: tuple[str, ...], formats: tuple[Any, ...], offsets: tuple[int, ...], itemsize: int) -> object:
    """Make a dtype of fields; a pickle of digests names the same one for each of them."""
    return np.dtype({"names": list(names), "formats": list(formats), "offsets": list(offsets), "itemsize": itemsize})


_BUILTINS: dict[str, Callable[..., object]] = {
    "bytes": _bytes,
    "bytearray": _byte_array,
    "set": _set,
    "frozenset": _frozen_set,
    "complex": _complex,
}
FUNCTIONS: dict[str, Callable[..., object]] = {
    "_codecs.encode": _encode,
    "collections.OrderedDict": _ordered_dict,
    **{f"builtins.{name}": function for name, function in _BUILTINS.items()},
    **{f"__builtin__.{name}": function for name, function in _BUILTINS.items()},
    **{f"{numpy}.multiarray._reconstruct": _begun_array for numpy in _NUMPY_VERSIONS},
    **{f"{numpy}.multiarray.scalar": _scalar for numpy in _NUMPY_VERSIONS},
    **{f"{numpy}.numeric._frombuffer": _array for numpy in _NUMPY_VERSIONS},
}


def _no_bare_array(_: tuple[Any, ...], __: tuple[Any, ...]) -> object:
    message = "numpy.ndarray, called by name"
    raise ForeignError(message)


CLASSES: dict[str, Rebuild] = {"numpy.dtype": _dtype_of_state, "numpy.ndarray": _no_bare_array}
