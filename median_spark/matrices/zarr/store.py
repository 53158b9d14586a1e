"""A zarr store for reading, local or not: its files are listed once, then chunks are read whole or by range.

What the listing lacks is not there, so nothing outside the folder is ever read, a missing chunk is known before zarr
takes it for fill values, and no size that metadata declare is trusted further than the bytes of the files.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from median_spark import storage
from median_spark.errors import InputError

_HELD_BYTES = 32 << 20
"""Bytes to keep from the ends of shards, where their indexes are: zarr reads the index at every access."""


class ListedStore(Store):  # type: ignore[misc]
    """The files of a folder, as they were when it was opened; `sizes` are their bytes by key."""

    supports_writes = False
    supports_deletes = False
    supports_partial_writes = False
    supports_listing = True

    def __init__(self, location: str) -> None:
        super().__init__(read_only=True)
        self.location = location.rstrip("/")
        below = len(self.location) + 1
        self.sizes = {file.path[below:]: file.size for file in storage.files_below(self.location)}
        if not self.sizes:
            nothing = storage.kind(self.location) == "nothing"
            message = f"{location}: " + ("there is no such folder" if nothing else "this folder is empty")
            raise InputError(message)
        self.bytes = sum(self.sizes.values())
        self._folders: dict[str, set[str]] = {}
        for key in self.sizes:
            folder, _, name = key.rpartition("/")
            while name not in (held := self._folders.setdefault(folder, set())):
                held.add(name)
                if not folder:
                    break
                folder, _, name = folder.rpartition("/")
        self._ends: dict[tuple[str, int], bytes] = {}
        self._ends_bytes = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListedStore) and other.location == self.location

    def __hash__(self) -> int:
        return hash(self.location)

    def names_in(self, folder: str) -> set[str]:
        """Return the names of files and folders in a folder."""
        return self._folders.get(folder, set())

    def read_text(self, key: str) -> str:
        """Return the content of a small file."""
        return storage.read_bytes(f"{self.location}/{key}").decode()

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a file or a range of it, None if there is no such file."""
        if key not in self.sizes:
            return None
        return prototype.buffer.from_bytes(await asyncio.to_thread(self._read, key, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return several ranges."""
        return list(await asyncio.gather(*(self.get(key, prototype, wanted) for key, wanted in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Say whether there is such a file."""
        return key in self.sizes

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in self.sizes:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with a prefix."""
        for key in self.sizes:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder."""
        for name in self.names_in(prefix.rstrip("/")):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: it is for reading."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse: it is for reading."""
        self._check_writable()

    def _read(self, key: str, wanted: ByteRequest | None) -> bytes:
        location, size = f"{self.location}/{key}", self.sizes[key]
        if wanted is None:
            return storage.read_bytes(location)
        if isinstance(wanted, RangeByteRequest):
            return storage.read_range(location, wanted.start, min(wanted.end, size))
        if isinstance(wanted, OffsetByteRequest):
            return storage.read_range(location, wanted.offset, size)
        return self._read_end(key, location, wanted)

    def _read_end(self, key: str, location: str, wanted: SuffixByteRequest) -> bytes:
        held = self._ends.get((key, wanted.suffix))
        if held is None:
            size = self.sizes[key]
            held = storage.read_range(location, max(0, size - wanted.suffix), size)
            if self._ends_bytes + len(held) > _HELD_BYTES:
                self._ends.clear()
                self._ends_bytes = 0
            self._ends[key, wanted.suffix] = held
            self._ends_bytes += len(held)
        return held
