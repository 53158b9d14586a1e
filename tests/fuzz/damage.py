"""Damaging a sound matrix: its bytes, as transfers and disks do, or its structure, as programs and people do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ODD_IDS = [
    "nan", "None", "NA", "", "-", "12345", "<NA>", "ensg00000000001", "ENSG00000000001.7", "\x1b[31mred\r", "=1+1",
    "g" * 5_000, "\N{SNOWMAN}", "ENSG00000000001 ", "GRCh38_ENSG00000000001", "null", "0", "TP53",
]  # fmt: skip
ODD_NUMBERS = [np.nan, np.inf, -np.inf, -1, 0.5, 0, 1e300, 2**53 + 1, 1e-320, 3.4e38, 1.0000001, -0.0]
HUGE = [10**5, 10**7, 10**8, 10**9, 2**31 - 1, 2**31, 2**32 + 1, 10**12, 2**62]


# Bytes


def damage_bytes(rng: np.random.Generator, path: Path, notes: list[str]) -> None:
    """Change some bytes of a file."""
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.choice([1, 1, 2, 5]))):
        if len(content) < 64:
            break
        change = BYTE_CHANGES[rng.integers(len(BYTE_CHANGES))]
        notes.append(f"bytes: {change.__name__.strip('_')} {change(rng, content)}")
    path.write_bytes(bytes(content))


def _flip(rng: np.random.Generator, content: bytearray) -> str:
    places = rng.integers(0, len(content), int(rng.choice([1, 2, 5, 30])))
    for place in places.tolist():
        content[place] ^= 1 << int(rng.integers(8))
    return str(places.tolist()[:5])


def _replace_bytes(rng: np.random.Generator, content: bytearray) -> str:
    places = rng.integers(0, len(content), int(rng.choice([1, 3, 10])))
    for place in places.tolist():
        content[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
    return str(places.tolist()[:5])


def _block(rng: np.random.Generator, content: bytearray) -> tuple[int, int]:
    size = int(rng.choice([8, 64, 512, 4096]))
    begin = int(rng.integers(0, len(content))) // size * size
    return begin, min(begin + size, len(content))


def _zero_block(rng: np.random.Generator, content: bytearray) -> str:
    begin, end = _block(rng, content)
    content[begin:end] = bytes(end - begin)
    return f"{begin}–{end}"


def _fill_block(rng: np.random.Generator, content: bytearray) -> str:
    begin, end = _block(rng, content)
    content[begin:end] = b"\xff" * (end - begin) if rng.random() < 0.5 else rng.bytes(end - begin)
    return f"{begin}–{end}"


def _truncate(rng: np.random.Generator, content: bytearray) -> str:
    del content[int(rng.integers(32, len(content))) :]
    return str(len(content))


def _swap_blocks(rng: np.random.Generator, content: bytearray) -> str:
    size = int(rng.choice([8, 64, 512]))
    one, other = (int(place) // size * size for place in rng.integers(0, max(1, len(content) - size), 2))
    if abs(one - other) >= size:
        content[one : one + size], content[other : other + size] = (
            content[other : other + size],
            content[one : one + size],
        )
    return f"{one}, {other} of {size}"


def _insert_or_delete(rng: np.random.Generator, content: bytearray) -> str:
    place, size = int(rng.integers(0, len(content))), int(rng.choice([1, 8, 512]))
    if rng.random() < 0.5:
        content[place:place] = bytes(size)
    else:
        del content[place : place + size]
    return f"{size} at {place}"


def _large_number(rng: np.random.Generator, content: bytearray) -> str:
    """Overwrite a number of 8 or 4 bytes, such as a size or an address, by a large one."""
    size = int(rng.choice([4, 8]))
    place = int(rng.integers(0, len(content) - size))
    number = int(rng.choice(HUGE)) % (1 << (8 * size))
    content[place : place + size] = number.to_bytes(size, "little")
    return f"{number} at {place}"


BYTE_CHANGES: list[Callable[[np.random.Generator, bytearray], str]] = [
    _flip, _flip, _replace_bytes, _zero_block, _zero_block, _fill_block, _truncate, _swap_blocks, _insert_or_delete,
    _large_number, _large_number,
]  # fmt: skip


# Structure


def damage_structure(rng: np.random.Generator, path: Path, notes: list[str]) -> None:
    """Change some objects or attributes of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.choice([1, 1, 1, 2]))):
            names: list[str] = []
            file.visit(names.append)
            names = [name for name in names if not name.startswith(("layers", "row_graphs", "col_graphs", "uns"))]
            if not names:
                return
            for _ in range(20):  # not every change makes sense of every object
                name, change = names[rng.integers(len(names))], CHANGES[rng.integers(len(CHANGES))]
                made = change(rng, file, name)
                if made != "nothing":
                    notes.append(f"{change.__name__.strip('_')} of {name}: {made}")
                    break


def _put(file: h5py.File, name: str, **how: Any) -> h5py.Dataset:
    """Write a dataset in place of what has its name, with the same attributes."""
    attributes = {key: file[name].attrs[key] for key in file[name].attrs} if name in file else {}
    if name in file:
        del file[name]
    made = file.create_dataset(name, **how)
    for key, found in attributes.items():
        made.attrs[key] = found
    return made


def _numbers(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    """Put odd numbers into a dataset of numbers; make it float64 now and then."""
    held = file[name]
    if not isinstance(held, h5py.Dataset) or held.dtype.kind not in "iufb" or not held.size:
        return "nothing"
    found = held[()]
    if rng.random() < 0.5:
        found = found.astype(np.float64)
    found = np.atleast_1d(found)
    put = []
    for _ in range(int(rng.choice([1, 2, 10]))):
        number = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
        place = tuple(int(rng.integers(length)) for length in found.shape)
        with np.errstate(all="ignore"):
            found[place] = np.array(number).astype(found.dtype)
        put.append(number)
    _put(file, name, data=found.reshape(held.shape))
    return str(put)


def _ids(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    """Put odd texts into a dataset of strings."""
    held = file[name]
    if not isinstance(held, h5py.Dataset) or held.dtype.kind not in "OS" or held.ndim != 1 or not held.size:
        return "nothing"
    found = [text if isinstance(text, bytes) else str(text).encode() for text in held[()].tolist()]
    put = []
    for _ in range(int(rng.choice([1, 2, 5]))):
        odd = ODD_IDS[rng.integers(len(ODD_IDS))].encode()
        if rng.random() < 0.2:
            odd = rng.choice([b"g\xe9", b"g\xe8", b"\xff\xfe", b"a\x00b"])
        elif rng.random() < 0.2:
            odd = found[rng.integers(len(found))]
        found[rng.integers(len(found))] = odd
        put.append(bytes(odd)[:30])
    if rng.random() < 0.5:
        _put(file, name, data=np.array(found, dtype=f"S{max(map(len, found)) or 1}"))
    else:
        texts = [text.replace(b"\x00", b"") for text in found]
        _put(file, name, data=np.array(texts, dtype=h5py.string_dtype()))
    return str(put)


def _shape(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    held = file[name]
    if not isinstance(held, h5py.Dataset) or held.shape is None:
        return "nothing"
    shape = list(held.shape)
    how = rng.choice(["more", "less", "none", "scalar", "deeper", "turned", "empty"])
    if how in ("more", "less") and shape:
        axis = int(rng.integers(len(shape)))
        shape[axis] = max(0, shape[axis] + (1 if how == "more" else -1))
        made = _put(file, name, shape=tuple(shape), dtype=held.dtype, chunks=True if all(shape) else None)
    elif how == "none":
        made = _put(file, name, shape=(0,) * len(shape), dtype=held.dtype)
    elif how == "scalar":
        made = _put(file, name, shape=(), dtype=held.dtype)
    elif how == "empty":
        made = _put(file, name, data=h5py.Empty(held.dtype))
    else:
        turned = (*shape, 1) if how == "deeper" else tuple(shape[::-1])
        made = _put(file, name, shape=turned, dtype=held.dtype)
    return f"{how} {made.shape}"


def _huge(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    """Declare a size that the file does not hold."""
    held = file[name]
    if not isinstance(held, h5py.Dataset) or not held.shape:
        return "nothing"
    shape = list(held.shape)
    shape[rng.integers(len(shape))] = int(rng.choice(HUGE[:-1]))
    chunks = tuple(min(length, int(rng.choice([1, 64, 10**5]))) or 1 for length in shape)
    dtype = held.dtype
    if rng.random() < 0.2:
        dtype = np.dtype(f"S{int(rng.choice([10**4, 10**6, 10**8]))}")
        shape, chunks = list(held.shape), tuple(1 for _ in shape)
    try:
        made = _put(file, name, shape=tuple(shape), dtype=dtype, chunks=chunks if rng.random() < 0.8 else None)
    except (ValueError, OSError, MemoryError) as error:
        return f"not possible: {error}"
    return f"{made.shape} {made.dtype} {made.chunks}"


def _dtype(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    held = file[name]
    if not isinstance(held, h5py.Dataset) or held.shape is None or held.size > 10**6:
        return "nothing"
    compound = np.dtype([("a", "i4"), ("b", "f8")])
    kinds: list[Any] = [
        "i1", "u1", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "?", ">f8", "S5", "S1", np.longdouble, compound,
        np.dtype(("i4", (3,))), h5py.string_dtype(), h5py.vlen_dtype(np.int32), h5py.ref_dtype, h5py.regionref_dtype,
        h5py.enum_dtype({"NO": 0, "YES": 1}), h5py.opaque_dtype(np.dtype("V8")), h5py.string_dtype("ascii", 12),
    ]  # fmt: skip
    dtype = kinds[rng.integers(len(kinds))]
    found = held[()] if held.dtype.kind in "iufb" else None
    if found is not None and np.dtype(dtype).kind in "iuf":
        with np.errstate(all="ignore"):
            _put(file, name, data=np.asarray(found).astype(dtype))
    else:
        _put(file, name, shape=held.shape, dtype=dtype)
    return str(dtype)


def _remove(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    del file[name]
    if rng.random() < 0.2:
        file.create_group(name)
        return "a group in its place"
    return ""


def _attribute(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    held = file[name] if rng.random() < 0.9 else file
    known = ["encoding-type", "shape", "_index", "column-order", "encoding-version", "categories", "LOOM_SPEC_VERSION",
             "h5sparse_format", "h5sparse_shape", "ordered"]  # fmt: skip
    names = list(held.attrs) or known
    key = names[rng.integers(len(names))] if rng.random() < 0.8 else known[rng.integers(len(known))]
    if key in held.attrs and rng.random() < 0.2:
        del held.attrs[key]
        return f"{key} removed"
    values: list[Any] = [
        0, -1, 1.5, "", "csr_matrix", "csc_matrix", "categorical", "nullable-integer", "array", "dataframe",
        b"bytes", np.bytes_(b"csr_matrix"), np.array([10**9, 10**9]), np.array([-1, 3]), np.array([3]),
        np.array([0.5, 2.5]), np.array([2**62, 2**62]), "x" * 60_000, h5py.Empty("f8"), np.array([], dtype="i8"),
        file.ref, name, np.array([b"a", b"b"]), np.array([[1, 2], [3, 4]]), "_index", np.nan, "ensembl_id",
        np.array([5, 5], dtype="u8"),
    ]  # fmt: skip
    value = values[rng.integers(len(values))]
    held.attrs[key] = value
    return f"{key} = {value!r:.60}"


def _link(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    """Lead from a name to somewhere else."""
    targets: list[Any] = [
        h5py.SoftLink(f"/{name}"), h5py.SoftLink("/nowhere"), h5py.SoftLink("/"), h5py.ExternalLink("nowhere.h5", name),
        h5py.ExternalLink(file.filename, f"/{name}"), h5py.ExternalLink("/etc/passwd", "/"), file["/"],
    ]  # fmt: skip
    target = targets[rng.integers(len(targets))]
    if rng.random() < 0.3 and isinstance(file[name], h5py.Dataset):
        moved = f"{name}_moved"
        file.move(name, moved)
        target = h5py.SoftLink(f"/{moved}")
        file[name] = target
        return "a soft link to where it was moved"
    del file[name]
    file[name] = target
    return type(target).__name__


def _elsewhere(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    """Make a dataset virtual or external, its numbers in files that are missing, or that are no one's business."""
    held = file[name]
    if not isinstance(held, h5py.Dataset) or not held.shape or held.dtype.kind not in "iufS":
        return "nothing"
    if rng.random() < 0.4:
        where = str(rng.choice(["/etc/passwd", "nowhere.bin"]))
        _put(file, name, shape=held.shape, dtype=held.dtype, external=[(where, 0, h5py.h5f.UNLIMITED)])
        return f"external storage {where}"
    where, of = (str(rng.choice(choices)) for choices in ([".", "nowhere.h5", file.filename], [name, "nothing"]))
    layout = h5py.VirtualLayout(held.shape, held.dtype)
    layout[...] = h5py.VirtualSource(where, of, held.shape, held.dtype)
    del file[name]
    file.create_virtual_dataset(name, layout)
    return f"virtual, of {of} in {where}"


def _chunk(rng: np.random.Generator, file: h5py.File, name: str) -> str:
    """Write a chunk's stored bytes directly: cut off, garbage, or declared unfiltered."""
    held = file[name]
    if not isinstance(held, h5py.Dataset) or not held.shape or held.dtype.hasobject or not held.size:
        return "nothing"
    if held.chunks is None:
        data = held[()]
        held = _put(file, name, data=data, chunks=held.shape, compression="gzip")
    begins = tuple(
        int(rng.integers(0, length)) // chunk * chunk for length, chunk in zip(held.shape, held.chunks, strict=True)
    )
    size = int(np.prod(held.chunks)) * held.dtype.itemsize
    content = [b"", b"\x00", rng.bytes(20), rng.bytes(size), rng.bytes(size * 2), bytes(size)][rng.integers(6)]
    mask = int(rng.choice([0, 1, 3, 2**31]))
    held.id.write_direct_chunk(begins, content, mask)
    return f"{len(content)} bytes, filter mask {mask}"


CHANGES: list[Callable[[np.random.Generator, h5py.File, str], str]] = [
    _numbers, _numbers, _numbers, _ids, _ids, _shape, _shape, _huge, _huge, _dtype, _dtype, _remove, _attribute,
    _attribute, _attribute, _link, _elsewhere, _chunk,
]  # fmt: skip
