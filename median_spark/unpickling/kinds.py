"""What an interpreter of pickles has on its stack beside values, and what may become part of a value."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

import numpy as np

Rebuild = Callable[[tuple[Any, ...], tuple[Any, ...]], object]
"""Makes an object of the arguments of its class and its state, both finished values; a ValueError refuses them.

The state is empty where the pickle gives none."""

_KEY_TYPES = frozenset({str, bytes, int, float, bool, complex, NoneType})
"""What may be hashed. Hashing a tuple recurses into it: one nested deeply enough would end the process."""


class ForeignError(Exception):
    """Something that a pickle may not hold."""


class CutOffError(Exception):
    """The content ends before the pickle does."""


@dataclass(frozen=True)
class Global:
    """A function or class that a pickle names."""

    name: str


class Arguments(tuple[Any, ...]):
    """A tuple with something unfinished in it: fit to be the arguments of a call, and for nothing else."""

    __slots__ = ()


@dataclass
class Begun:
    """An object whose state may still come; it becomes a value when it does, or when it becomes part of another."""

    rebuild: Rebuild
    arguments: tuple[Any, ...]
    places: list[int] = field(default_factory=list)


UNFINISHED = frozenset({Global, Arguments, Begun})
"""No value may contain one of these, so that a begun object is nowhere but on the stack and in the memo."""


def expect(value: Any, kind: type) -> Any:
    """Return a value that is of just this type; raise a TypeError otherwise."""
    if type(value) is not kind:
        message = f"there is a {type(value).__name__.lstrip('_')} where a {kind.__name__.lstrip('_')} must be"
        raise TypeError(message)
    return value


def all_hashable(items: list[Any]) -> list[Any]:
    """Return items that may all be hashed; raise a ForeignError otherwise."""
    if not _KEY_TYPES.issuperset(map(type, items)):
        for item in items:
            hashable(item)
    return items


def hashable(item: Any) -> Any:
    """Return an item that may be hashed; raise a ForeignError otherwise."""
    if type(item) not in _KEY_TYPES and not isinstance(item, np.generic):
        message = f"a {type(item).__name__} as a key or in a set"
        raise ForeignError(message)
    return item
