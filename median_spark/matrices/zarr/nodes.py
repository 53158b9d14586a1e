"""Groups and arrays of a zarr store as nodes of an AnnData store."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

from median_spark.errors import InputError
from median_spark.matrices.anndata.nodes import Array, ArrayForm, Group, Node, Unstored
from median_spark.matrices.anndata.sparse import chunked
from median_spark.matrices.contract import Numbers, brief
from median_spark.matrices.integer_counts import numbers_hold_counts
from median_spark.matrices.tables import OTHER_TYPE, as_strings
from median_spark.matrices.zarr.arrays import ZarrGrid, ZarrVector
from median_spark.matrices.zarr.chunks import Chunks, most_bytes, naming_damage, require_lines
from median_spark.matrices.zarr.codecs import checked_blosc
from median_spark.matrices.zarr.store import ListedStore

_METADATA = {2: (".zarray", ".zgroup"), 3: ("zarr.json",)}
"""Names of the files that make a folder a node, by version of zarr."""

_MOST_ATTRIBUTE_VALUES, _MOST_ATTRIBUTE_CHARACTERS = 16, 1 << 16
"""What an attribute that is read here may have: it is a word, or two numbers."""

_FEWEST_NAMES = 1_000
"""Names that an attribute may list of any group; of a group with more members, so many."""

_BLOCK_BYTES = 32 << 20
"""Bytes of numbers to read at once."""

_BLOCK_STRINGS = 1 << 16
"""Strings to read at once."""


class ZarrNode(Node):
    """A group or an array of a zarr store."""

    def __init__(self, store: ListedStore, held: zarr.Group | zarr.Array, path: str, assumptions: list[str]) -> None:
        self._store = store
        self._held = held
        self.path = path
        self._assumptions = assumptions

    def word(self, name: str) -> str | None:
        """Return an attribute that is a word, None if there is none."""
        value = self.attribute(name)
        if value is None or isinstance(value, str):
            return value
        message = (
            f"{self._store.location}: attribute '{name}' of '{self.path or '/'}' must be a word; it is {brief(value)}"
        )
        raise InputError(message)

    def attribute(self, name: str) -> Any:
        """Return an attribute that is a word or a few numbers, None if there is none."""
        with naming_damage(self._store.location, f"attribute '{name}' of '{self.path or '/'}'"):
            value = self._held.attrs.get(name)
        held = len(value) if isinstance(value, (str, list, dict)) else 1
        most = _MOST_ATTRIBUTE_CHARACTERS if isinstance(value, str) else _MOST_ATTRIBUTE_VALUES
        if held <= most and not isinstance(value, dict):
            return value
        message = (
            f"{self._store.location}: attribute '{name}' of '{self.path or '/'}' must be a word or a few numbers; it "
            f"is {brief(value)}"
        )
        raise InputError(message)

    def require_lines(self, name: str, lines: tuple[int, ...]) -> None:
        """Reject more cells or genes than the store has bytes."""
        require_lines(self._store, name, lines)


class ZarrGroup(ZarrNode, Group):
    """A group of a zarr store."""

    noun = "group"

    def names(self, what: str) -> list[str]:
        """Return the names of what it holds, ascending."""
        files = _METADATA[self._held.metadata.zarr_format]
        below = {name: self._store.names_in(_joined(self.path, name)) for name in self._store.names_in(self.path)}
        return sorted(name for name, held in below.items() if not held.isdisjoint(files))

    def listed(self, attribute: str) -> list[str] | None:
        """Return the names that an attribute lists, None if there is no such attribute."""
        place = f"attribute '{attribute}' of '{self.path or '/'}'"
        with naming_damage(self._store.location, place):
            if attribute not in self._held.attrs:
                return None
            value = self._held.attrs[attribute]
        names = [value] if isinstance(value, str) else value
        most = max(_FEWEST_NAMES, len(self._store.names_in(self.path)))
        if isinstance(names, list) and len(names) <= most and all(isinstance(name, str) for name in names):
            return names if names != [""] else []
        message = f"{self._store.location}: {place} must list some of the group's members; it is {brief(value)}"
        raise InputError(message)

    def find(self, path: str) -> Node | None:
        """Return a node by its path from this group, None if there is none."""
        return _node(self._store, _joined(self.path, path), self._held.metadata.zarr_format, self._assumptions)

    def assumptions(self) -> list[str]:
        """Return what was taken for 0 so far because the store does not hold it, a sentence each."""
        return list(dict.fromkeys(self._assumptions))


class ZarrArray(ZarrNode, Array):
    """An array of a zarr store."""

    noun = "array"
    _held: zarr.Array

    def form(self, what: str) -> ArrayForm:
        """Return type and extents; what is None, anndata writes as an array that says so."""
        absent = self.attribute("encoding-type") == "null"
        return ArrayForm(self._held.dtype, None if absent else self._held.shape)

    def values(
        self,
        what: str,
        first: int = 0,
        last: int | None = None,
        *,
        field: str | None = None,
        unstored: Unstored = Unstored.DAMAGE,
    ) -> Numbers:
        """Return some entries of a list of strings, numbers or truth values."""
        dtype = self._held.dtype
        if dtype.kind not in "OTUSiufb" or dtype.names is not None or self._held.ndim != 1 or field is not None:
            holds = f"values of type {brief(dtype)} in {self._held.ndim} dimensions"
            message = f"{self._store.location}: {what} must hold strings or numbers; it holds {holds}: name another one"
            raise InputError(message, kind=OTHER_TYPE)
        first, last, _ = slice(first, last).indices(self._held.shape[0])
        chunks = self._chunks(what)
        if unstored is Unstored.DAMAGE or dtype.kind in "OTUS":
            chunks.require_stored(what, first, last)
        elif unstored is Unstored.LIKELY and (sentence := chunks.assumption(what)) is not None:
            self._assumptions.append(sentence)
        if dtype.kind in "OTUS":
            return self._strings(what, first, last, chunks.tile[0])
        numbers = np.empty(max(0, last - first), dtype=dtype.newbyteorder("="))
        for start, stop in _blocks(first, last, chunks.tile[0], _BLOCK_BYTES // dtype.itemsize):
            with naming_damage(self._store.location, what):
                numbers[start - first : stop - first] = self._held[start:stop]
        return numbers

    def require_strings(self, what: str, number: int, longest: int) -> None:
        """Reject strings that would take more memory than the store can ask for."""
        wanted = number * longest * 4
        if wanted > most_bytes(self._store):
            message = (
                f"{self._store.location}: {what} has {number:,} strings of up to {longest:,} characters, {wanted:,} "
                f"bytes, where the store has {self._store.bytes:,}; it is damaged, or these are no names"
            )
            raise InputError(message)

    def require_stored_strings(self, what: str) -> None:
        """Reject strings of which the store lacks some chunk, without reading any."""
        if self._held.dtype.kind in "OTUS" and self._held.ndim == 1:
            self._chunks(what).require_stored(what, 0, self._held.shape[0])

    def referred(self, attribute: str) -> Node | None:
        """Return nothing: zarr has no references."""
        return None

    def number_list(self, what: str, unstored: Unstored = Unstored.DAMAGE) -> ZarrVector:
        """Return this list of numbers for reading by range."""
        return ZarrVector(self._store, self._held, self._chunks(what), what, unstored)

    def grid(self, place: str) -> ZarrGrid:
        """Return this matrix of cells by genes for reading by blocks."""
        chunks = self._chunks(place)
        grid = ZarrGrid(self._store, self._held, chunks, place)
        sentence = chunks.assumption(place)
        if sentence is not None:
            self._assumptions.append(sentence)
        return grid

    def holds_counts(self) -> bool:
        """Say whether some of its numbers could be counts."""

        def read(start: int, stop: int) -> Numbers:
            with naming_damage(self._store.location, f"'{brief(self.path)}'"):
                return np.asarray(self._held[start:stop])

        self._chunks(f"'{brief(self.path)}'")
        return numbers_hold_counts(self._held.dtype, self._held.shape, read)

    def _chunks(self, what: str) -> Chunks:
        with naming_damage(self._store.location, f"the chunks of {what}"):
            return Chunks(self._store, self.path, self._held)

    def _strings(self, what: str, first: int, last: int, tile: int) -> Numbers:
        parts, longest = [np.array([], dtype="<U1")], 1
        for start, stop in _blocks(first, last, tile, _BLOCK_STRINGS):
            with naming_damage(self._store.location, what):
                texts = as_strings(np.asarray(self._held[start:stop]).astype(object))
            longest = max(longest, texts.dtype.itemsize // 4)
            self.require_strings(what, last - first, longest)
            parts.append(texts)
        return np.concatenate(parts)


def open_root(store: ListedStore) -> ZarrGroup:
    """Return the group at the root of a store; InputError if it is no zarr group."""
    names = store.names_in("")
    version = 3 if "zarr.json" in names else 2
    node = _node(store, "", version, [])
    if isinstance(node, ZarrGroup):
        return node
    what = "an array of zarr" if node is not None else "no zarr store: it has no zarr.json, .zgroup or .zarray"
    message = f"{store.location}: this folder is {what}; an AnnData store is a group of zarr version 2 or 3"
    raise InputError(message)


def _node(store: ListedStore, path: str, version: int, assumptions: list[str]) -> Node | None:
    names = store.names_in(path)
    file = next((name for name in _METADATA[version] if name in names), None)
    if file is None:
        return None
    with naming_damage(store.location, f"'{brief(path) or '/'}'"):
        described = json.loads(store.read_text(_joined(path, file)))
        how = {"store": store, "path": path, "mode": "r", "zarr_format": version}
        if file == ".zarray" or (version == 3 and described["node_type"] == "array"):
            _refuse_pickles(store, path, described)
            with checked_blosc():
                return ZarrArray(store, zarr.open_array(**how), path, assumptions)
        # Consolidated metadata may be older than the arrays that they describe.
        return ZarrGroup(store, zarr.open_group(**how, use_consolidated=False), path, assumptions)


def _refuse_pickles(store: ListedStore, path: str, described: Any) -> None:
    """Reject arrays that are unpickled: that runs whatever code a file holds."""
    codecs = [described.get(name) for name in ("filters", "compressor", "codecs")]
    if "pickle" in json.dumps(codecs).lower():
        message = f"{store.location}: '{brief(path)}' is stored as pickles, which may run any code: write it again"
        raise InputError(message)


def _blocks(first: int, last: int, tile: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Cut a range into blocks of whole chunks."""
    return chunked(first, last, max(tile, wanted // tile * tile))


def _joined(above: str, path: str) -> str:
    return "/".join(part for part in (above, *path.split("/")) if part not in ("", "."))
