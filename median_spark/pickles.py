"""Reading pickled dictionaries in a child process with limits, where a pickle can call nothing but a few functions.

A pickle is a program for Python's unpickler, which lets it call what it names. Here the unpickler knows the names that
dictionaries of text, numbers and numpy's scalars and arrays need, and no others. Knows nothing of genes or digests.
"""

import copyreg
import io
import pickle
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError, MedianSparkError
from median_spark.guard import Limits, read_guarded

Scalar = str | float | int | bool | None

DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, BufferError, RecursionError)
"""Errors that the content of a pickle causes in code that takes it apart."""

_LONGEST_TEXT, _LARGEST_INTEGER, _MOST_FIELDS = 1_000, 64, 16
_SIMPLE_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U[0-9]{1,6}")
_UTF_32 = {"<": "utf-32-le", ">": "utf-32-be"}


def read_dict(
    content: bytes, location: str, what: str, error: type[MedianSparkError] = InputError
) -> dict[Scalar, Scalar]:
    """Read a pickled dict of text, numbers and None; numpy's scalars become Python's, an OrderedDict a dict.

    Raises `error` if the pickle is not `what` it must be ("a dict of gene to median"), and InputError if it names
    anything that such dicts do not need, is cut off or damaged, or takes too much time or memory.
    """
    entries: dict[Scalar, Scalar] = read_guarded(
        location, _read_dict, content, location, what, error, limits=limits_for(content)
    )
    return entries


def limits_for(content: bytes) -> Limits:
    """Return limits for reading a pickle: about ten times what an honest one of its size needs."""
    return Limits(processor_seconds=5 + (len(content) >> 22), memory=(384 << 20) + 24 * len(content))


def load(
    content: bytes, location: str, what: str, admitted: Mapping[str, Callable[..., object]] | None = None
) -> object:
    """Unpickle; call this in a guarded child, as hostile pickles may crash the process, or take any time or memory.

    `admitted` are functions for further names, as ``"module.Class"``. Arrays and dtypes come as `PickledArray` and
    `PickledDtype`. InputError if the pickle names anything else, is cut off or damaged.
    """
    names = {**_NAMES, **{name: _Callable(name, function) for name, function in (admitted or {}).items()}}
    copyreg.clear_extension_cache()  # what is cached there would be handed out without a look at its name
    try:
        return _Unpickler(content, names).load()
    except _ForeignError as error:
        message = f"{location}: this pickle holds {error}, which {what} does not need; it was not read"
    except (EOFError, pickle.UnpicklingError, SystemError, *DAMAGE) as error:
        cause = " ".join(f"{type(error).__name__}: {error}"[:200].split())
        message = f"{location}: this pickle of {len(content):,} bytes is cut off or damaged ({cause})"
    raise InputError(message)


def described(value: object) -> str:
    """Return what kind of object a pickle holds: "a list"."""
    if type(value) is _Callable:
        return value.name
    name = type(value).__name__.lstrip("_").removeprefix("Pickled").lower()
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def unfit(value: object) -> str | None:
    """Return why a value can neither name a gene nor belong to one, or None if it can."""
    if type(value) not in (str, float, int, bool, NoneType):
        return described(value)
    if type(value) is int and value.bit_length() > _LARGEST_INTEGER:
        return f"an integer of {value.bit_length():,} bits"
    if type(value) is str and len(value) > _LONGEST_TEXT:
        return f"a text of {len(value):,} characters"
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return "a text that is not Unicode"
    return None


class PickledDtype:
    """A dtype as a pickle describes it. numpy itself would trust it, and could crash or be subverted."""

    __slots__ = ("_code", "_dtype", "_state")

    def __init__(self, code: str, *_: object) -> None:
        self._code = code
        self._dtype: np.dtype[Any] | None = None
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state, self._dtype = state, None

    def make(self) -> np.dtype[Any]:
        """Return the dtype if it is of a number or of text, or of fields that are; raise one of `DAMAGE` otherwise."""
        if self._dtype is None:
            _, order, _, names, fields, *_ = self._state
            if names is None:
                if not _SIMPLE_DTYPE.fullmatch(self._code):
                    message = f"{self._code:.40} is no dtype of numbers or text"
                    raise ValueError(message)
                self._dtype = np.dtype(self._code).newbyteorder(order)
            else:
                parts = [(fields[name][0].make(), fields[name][1]) for name in names[:_MOST_FIELDS]]
                if any(part.names is not None for part, _ in parts):
                    message = "a dtype has fields of fields"
                    raise ValueError(message)
                formats, offsets = zip(*parts, strict=True)
                self._dtype = np.dtype(
                    {"names": names, "formats": formats, "offsets": offsets, "itemsize": int(self._code[1:])}
                )
        return self._dtype


class PickledArray:
    """An array as a pickle describes it, for the same reason."""

    __slots__ = ("_state",)

    def __init__(self, state: tuple[Any, ...] = ()) -> None:
        self._state = state

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def column(self) -> npt.NDArray[Any]:
        """Return the array if it has one axis and as many bytes as it needs; raise one of `DAMAGE` otherwise."""
        _, shape, dtype, _, content = self._state
        if type(shape) is not tuple or len(shape) != 1:
            message = "an array does not have one axis"
            raise ValueError(message)
        (length,) = shape
        if type(content) not in (bytes, bytearray):
            message = f"an array's content is {described(content)}"
            raise TypeError(message)
        made = dtype.make()
        if type(length) is not int or length * made.itemsize != len(content):
            message = f"an array of dtype {made} does not have the {len(content):,} bytes that its shape needs"
            raise ValueError(message)
        return np.frombuffer(content, made) if content else np.zeros(0, made)


def _scalar(dtype: PickledDtype, content: bytes = b"") -> object:
    """Return Python's equivalent of a numpy scalar."""
    made = dtype.make()
    if made.kind == "U":  # numpy would not look whether it is Unicode
        return content.decode(_UTF_32[made.str[0]]).rstrip("\0")
    if made.names is not None:
        message = "a scalar has fields"
        raise ValueError(message)
    return np.frombuffer(content, made).item()


def _encode(text: str, encoding: str) -> bytes:
    """Return the bytes that protocol 2 writes as text."""
    if encoding not in ("latin1", "latin-1"):
        message = "bytes are pickled as latin1 only"
        raise ValueError(message)
    return str.encode(text, "latin1")


def _array_to_come(kind: object, shape: object, code: object) -> PickledArray:
    return PickledArray()


def _array(content: object, dtype: object, shape: object, order: object) -> PickledArray:
    return PickledArray((1, shape, dtype, order, content))


def _no_array(*_: object) -> object:
    message = "numpy.ndarray is called by name"
    raise TypeError(message)


class _Callable:
    """A function that a pickle may call; unlike functions and classes it has no state that the pickle could change."""

    __slots__ = ("_function", "name")

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self.name = name
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __setstate__(self, _: object) -> None:
        message = f"{self.name} has no state"
        raise TypeError(message)


_NUMPY: dict[str, Callable[..., object]] = {
    "multiarray._reconstruct": _array_to_come,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _array,
}
_FUNCTIONS: dict[str, Callable[..., object]] = {
    "_codecs.encode": _encode,
    "builtins.bytes": lambda: b"",
    "__builtin__.bytes": lambda: b"",
    "collections.OrderedDict": dict,
    "numpy.dtype": PickledDtype,
    "numpy.ndarray": _no_array,
    **{f"numpy.core.{name}": function for name, function in _NUMPY.items()},  # numpy 1
    **{f"numpy._core.{name}": function for name, function in _NUMPY.items()},  # numpy 2
}
_NAMES = {name: _Callable(name, function) for name, function in _FUNCTIONS.items()}


class _ForeignError(Exception):
    """A name that is not on the list."""


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, restricted to the names on a list."""

    def __init__(self, content: bytes, names: Mapping[str, object]) -> None:
        super().__init__(io.BufferedReader(io.BytesIO(content)))
        self._names = names

    def find_class(self, module: str, name: str) -> object:
        """Return the stand-in for a name."""
        full = f"{module}.{name}"
        if full not in self._names:
            raise _ForeignError(full[:200])
        return self._names[full]


def _read_dict(content: bytes, location: str, what: str, error: type[MedianSparkError]) -> dict[Scalar, Scalar]:
    """Return the dict; the part of `read_dict` that is guarded."""
    entries = load(content, location, what)
    if type(entries) is not dict:
        message = f"{location}: this pickle holds {described(entries)}; it must be {what}"
        raise error(message)
    for number, entry in enumerate(entries.items(), 1):
        for value in entry:
            fault = unfit(value)
            if fault is not None:
                message = f"{location}: this pickle must be {what}; there is {fault} in entry {number:,}"
                raise error(message)
    # Equal texts become one: made of one numpy scalar over and over, they would cross at many times the pickle's size.
    texts: dict[str, str] = {}
    return {key: texts.setdefault(value, value) if type(value) is str else value for key, value in entries.items()}
