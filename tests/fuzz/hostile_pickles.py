"""Pickles: sound dictionaries and digests, damaged ones, random programs, and known ways to take memory or time."""

import io
import math
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from crick import TDigest

GLOBALS = [
    "os system", "builtins eval", "builtins getattr", "builtins bytearray", "builtins list", "builtins range",
    "builtins dict", "numpy ndarray", "numpy dtype", "numpy _core.multiarray", "numpy._core.multiarray _reconstruct",
    "numpy.core.multiarray _reconstruct", "numpy._core.multiarray scalar", "numpy._core.numeric _frombuffer",
    "numpy zeros", "crick.tdigest TDigest", "collections OrderedDict", "collections defaultdict",
    "copyreg _reconstructor", "_codecs encode", "builtins object", "builtins str", "builtins int", "builtins set",
    "builtins complex", "decimal Decimal", "array array",
]  # fmt: skip


def pickle_of(rng: np.random.Generator, notes: list[str]) -> bytes:
    """Return a pickle, good or hostile."""
    kind = rng.choice(["good", "bytes", "program", "bomb", "object"], p=[0.15, 0.4, 0.15, 0.2, 0.1])
    if kind == "bomb":
        make = BOMBS[rng.integers(len(BOMBS))]
        notes.append(f"bomb {make.__name__.strip('_')}")
        return make(rng)
    if kind == "program":
        return _program(rng, notes)
    content = pickle.dumps(_odd(rng, notes) if kind == "object" else _good(rng, notes), int(rng.integers(2, 6)))
    return _damaged(rng, content, notes) if kind == "bytes" else content


def _good(rng: np.random.Generator, notes: list[str]) -> Any:
    genes = [f"ENSG{number:011d}" for number in range(int(rng.integers(1, 40)))]
    kind = rng.choice(["digests", "medians", "map", "scalars"])
    notes.append(f"dict of {kind}")
    if kind == "digests":
        made = {}
        for gene in genes:
            made[gene] = TDigest(100.0)
            made[gene].update(rng.lognormal(size=int(rng.choice([0, 1, 3, 200]))))
        return made
    if kind == "map":
        return {f"NAME{number}": gene for number, gene in enumerate(genes)}
    values = rng.lognormal(size=len(genes))
    return dict(zip(genes, values.tolist() if kind == "medians" else values, strict=True))


def _odd(rng: np.random.Generator, notes: list[str]) -> Any:
    """Return a dict with something odd in it."""
    odd: list[Any] = [
        None, True, -1, 0, 10**400, -(10**5000), math.nan, math.inf, 1e-320, "", "\ud800", "\x1b[31m", b"\xff",
        "x" * 10**5, [], (), {}, [[]], {"a": {}}, np.array([1.5]), np.array([], dtype="U9"), np.array([["a"]]),
        np.float32(2), np.int8(3), np.str_("ENSG1"), np.datetime64("2020-01-01"), np.array([1, "a"], dtype="U3"),
        OrderedDict(a=1), frozenset("ab"), 3j, bytearray(b"a"),
        np.zeros(2, dtype=[("mean", "<f8"), ("weight", "<f8")]), np.bool_(True), np.array("scalar"),
    ]  # fmt: skip
    keys = [item for item in odd if not isinstance(item, list | dict | np.ndarray | bytearray)]
    made = _good(rng, notes)
    for _ in range(int(rng.integers(1, 3))):
        key = keys[rng.integers(len(keys))] if rng.random() < 0.5 else "ENSG00000000001"
        made[key] = odd[rng.integers(len(odd))]
        notes.append(f"a {type(made[key]).__name__} at a {type(key).__name__}")
    return made if rng.random() < 0.8 else odd[rng.integers(len(odd))]


def _damaged(rng: np.random.Generator, content: bytes, notes: list[str]) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 5, 20]))):
        place = int(rng.integers(0, len(changed)))
        how = rng.choice(["flip", "byte", "cut", "insert", "repeat", "length"])
        if how == "flip":
            changed[place] ^= 1 << int(rng.integers(8))
        elif how == "byte":
            changed[place] = int(rng.choice([0, 0xFF, ord("."), ord("2"), ord("R"), ord("b"), rng.integers(256)]))
        elif how == "cut":
            del changed[place : place + int(rng.choice([1, 4, len(changed)]))]
        elif how == "insert":
            changed[place:place] = rng.bytes(int(rng.integers(1, 9)))
        elif how == "repeat":
            changed[place:place] = changed[place : place + int(rng.integers(1, 40))] * int(rng.choice([1, 5, 100]))
        else:
            changed[place : place + 4] = struct.pack("<I", int(rng.choice([2**31 - 1, 2**32 - 1, 10**6, 65_536])))
        notes.append(f"{how} at {place}")
        if not changed:
            break
    return bytes(changed)


def _program(rng: np.random.Generator, notes: list[str]) -> bytes:
    """Return random instructions that have arguments of the right form, weighted towards those that build something."""
    made = io.BytesIO()
    made.write(b"\x80" + bytes([int(rng.integers(2, 6))]))
    weights = np.array([3.0 if code.arg is None else 1.0 for code in pickletools.opcodes])
    for _ in range(int(rng.integers(3, 120))):
        code = pickletools.opcodes[rng.choice(len(pickletools.opcodes), p=weights / weights.sum())]
        if code.name == "STOP" and rng.random() < 0.9:
            continue
        made.write(code.code.encode("latin-1") + _argument(rng, code))
    made.write(b".")
    notes.append("random instructions")
    return made.getvalue()


def _argument(rng: np.random.Generator, code: pickletools.OpcodeInfo) -> bytes:
    """Return an argument of an instruction; lengths are right but now and then."""
    if code.arg is None:
        return b""
    width = code.arg.n
    if width >= 0:
        return rng.bytes(width) if rng.random() < 0.3 else int(rng.integers(0, 6)).to_bytes(width, "little")
    if code.name in ("GLOBAL", "INST"):
        return GLOBALS[rng.integers(len(GLOBALS))].replace(" ", "\n").encode() + b"\n"
    if width == -1:  # up to a line's end
        return rng.choice([b"1\n", b"'a'\n", b"1.5\n", b"00\n", b"5L\n", b"\xff\n"])
    text = rng.choice([b"ENSG00000000001", b"", b"numpy", b"ndarray", b"\xed\xa0\x80", b"a" * 200])
    size = {-2: 1, -3: 4, -4: 4, -5: 8}[width]
    declared = len(text) if rng.random() < 0.8 else int(rng.choice([0, 255, 2**31 - 1]))
    return (declared % (1 << (8 * size))).to_bytes(size, "little") + text


# Known ways to take memory or time


def _doubled_list(rng: np.random.Generator) -> bytes:
    """A list of the same list twice, and so on: small in memory, and endless when it is written out."""
    depth = int(rng.choice([10, 30, 100, 1_000]))
    body = b"](K\x01K\x02e" + b"q\x00" + b"".join(b"0](h\x00h\x00eq\x00" for _ in range(depth))
    how = rng.choice(["value", "key", "whole", "tuple"])
    if how == "whole":
        return b"\x80\x04" + body + b"."
    if how == "tuple":
        body = b")q\x00" + b"".join(b"0h\x00h\x00\x86q\x00" for _ in range(depth))
    if how == "value":
        return b"\x80\x04}\x8c\x01a" + body + b"s."
    return b"\x80\x04}" + body + b"K\x01s."


def _colliding(rng: np.random.Generator) -> bytes:
    """Integers of one hash as keys: each takes as long as all before it."""
    many = int(rng.choice([2_000, 10_000]))
    prime = (1 << 61) - 1
    keys = [prime * number + 7 for number in range(1, many)]
    made: Any = dict.fromkeys(keys, "ENSG1") if rng.random() < 0.6 else set(keys)
    return pickle.dumps(made, 4)


def _huge_integer(rng: np.random.Generator) -> bytes:
    size = int(rng.choice([10_000, 1_000_000]))
    number = b"\x8b" + struct.pack("<i", size) + b"\x7f" * size
    return b"\x80\x04}\x8c\x01a" + number + b"s." if rng.random() < 0.5 else b"\x80\x04}" + number + b"\x8c\x01as."


def _deep(rng: np.random.Generator) -> bytes:
    depth = int(rng.choice([100, 5_000, 500_000]))
    wrap = rng.choice([b"\x85", b"a", b"s"])
    if wrap == b"\x85":
        return b"\x80\x04}\x8c\x01a)" + b"\x85" * depth + b"s."
    if wrap == b"a":
        return b"\x80\x04}\x8c\x01a" + b"]" * depth + b"a" * (depth - 1) + b"s."
    return b"\x80\x04" + b"}\x8c\x01a" * depth + b"K\x01" + b"s" * depth + b"."


def _memo_bomb(rng: np.random.Generator) -> bytes:
    place = struct.pack("<I", int(rng.choice([0, 10**6, 2**31 - 1, 2**32 - 1])))
    return b"\x80\x04}r" + place + b"\x8c\x01aj" + place + b"s."


def _declared(rng: np.random.Generator) -> bytes:
    code = rng.choice([b"X", b"B", b"T", b"\x8d", b"\x8e", b"\x96", b"\x8b", b"\x95"])
    width = 8 if code in (b"\x8d", b"\x8e", b"\x96", b"\x95") else 4
    size = int(rng.choice([10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1])) % (1 << (8 * width))
    return b"\x80\x05}\x8c\x01a" + code + size.to_bytes(width, "little") + b"abc" + b"s."


def _array(rng: np.random.Generator) -> bytes:
    """An array whose shape or type says something else than its bytes."""
    dtype = np.dtype([("mean", "<f8"), ("weight", "<f8")])
    array = rng.choice(
        np.array([np.arange(3.0), np.array(["ENSG1", "ä"]), np.zeros(3, dtype), np.array([1, None], object)], object)
    )
    content = bytearray(pickle.dumps({"a": array, "b": np.float64(1.5)}, int(rng.integers(2, 5))))
    for needle, values in ((b"K\x03\x85", [b"K\xff\x85", b"J\xff\xff\xff\x7f\x85", b"J\xff\xff\xff\xff\x85"]),
                           (b"K\x02\x85", [b"M\xff\xff\x85", b"K\x02K\x03\x86"]),
                           (b"U5", [b"U9", b"O8", b"V5"]), (b"f8", [b"O8", b"U2", b"f2", b"M8", b"V0"])):  # fmt: skip
        place = content.find(needle)
        if place >= 0 and rng.random() < 0.6:
            content[place : place + len(needle)] = values[rng.integers(len(values))]
    if rng.random() < 0.3:  # code points beyond Unicode
        place = bytes(content).find("E".encode("utf-32-le"))
        if place >= 0:
            content[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(content)


def _named(rng: np.random.Generator) -> bytes:
    """Anything that Python has, called with anything."""
    module, _, name = GLOBALS[rng.integers(len(GLOBALS))].partition(" ")
    arguments = [b")", b"\x8c\x01a\x85", b"J\xff\xff\xff\x7f\x85", b"K\x05K\x06\x86", b"N\x85", b"](K\x01e\x85"][
        rng.integers(6)
    ]
    state = [b"", b"}b", b"K\x01b", b"Nb", b")b"][rng.integers(5)]
    called = b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + rng.choice([b"R", b"\x81"]) + state
    return b"\x80\x04}\x8c\x01a" + called + b"s."


def _forged_digest(rng: np.random.Generator) -> bytes:
    """A digest whose centroids, weights, ends or compression are none that crick makes."""
    dtype = np.dtype([("mean", "<f8"), ("weight", "<f8")])
    centroids = np.zeros(int(rng.choice([0, 1, 3, 500, 3_000])), dtype)
    centroids["mean"] = np.sort(rng.lognormal(size=len(centroids)))
    centroids["weight"] = rng.choice([1, 1, 1, 0, -1, 0.5, math.nan, 1e300])
    state = [centroids, float(len(centroids)), centroids["mean"].min(initial=9), centroids["mean"].max(initial=0)]
    odd = [math.nan, math.inf, -1.0, 1e308, 10**400, None, "a", np.float64(3)]
    if rng.random() < 0.7:
        state[rng.integers(1, 4)] = odd[rng.integers(len(odd))]
    compression = [100.0, 20.0, 1000.0, 5.0, 1e9, math.nan, -1.0, None, "a", 10**400][
        rng.choice(10, p=[0.55] + [0.05] * 9)
    ]
    return pickle.dumps({"ENSG1": _Forged(compression, tuple(state))}, 4)


class _Forged:
    """Pickles as a crick digest of any compression and state."""

    def __init__(self, *reduced: Any) -> None:
        self.compression, self.state = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return TDigest, (self.compression,), self.state


BOMBS: list[Callable[[np.random.Generator], bytes]] = [
    _doubled_list, _doubled_list, _colliding, _huge_integer, _deep, _memo_bomb, _declared, _array, _array, _named,
    _named, _forged_digest, _forged_digest,
]  # fmt: skip
