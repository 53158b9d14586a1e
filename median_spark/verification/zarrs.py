"""AnnData stores in zarr by plain zarr, and annbatch's collections of them."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr
from scipy import sparse
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store

from median_spark import storage
from median_spark.verification.h5ads import H5ad
from median_spark.verification.inside import DamagedError


class _Files(Store):  # type: ignore[misc]
    """The files of a folder, each looked for when zarr asks for it."""

    supports_writes = supports_deletes = supports_partial_writes = False
    supports_listing = True

    def __init__(self, location: str) -> None:
        super().__init__(read_only=True)
        self._location = location.rstrip("/")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Files) and other._location == self._location

    def __hash__(self) -> int:
        return hash(self._location)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return a file or a part of it, None if there is none."""
        content = await asyncio.to_thread(self._read, f"{self._location}/{key}", byte_range)
        return None if content is None else prototype.buffer.from_bytes(content)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """Return several parts."""
        return [await self.get(key, prototype, wanted) for key, wanted in key_ranges]

    async def exists(self, key: str) -> bool:
        """Say whether there is such a file."""
        return storage.kind(f"{self._location}/{key}") == "file"

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder."""
        for name in storage.names_in(f"{self._location}/{prefix}".rstrip("/")):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below a folder."""
        for file in storage.files_below(f"{self._location}/{prefix}".rstrip("/")):
            yield file.path[len(self._location) + 1 :]

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def set(self, key: str, value: Any) -> None:
        """Write nothing."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Delete nothing."""
        raise NotImplementedError

    @staticmethod
    def _read(location: str, wanted: Any) -> bytes | None:
        try:
            if wanted is None:
                return storage.read_bytes(location)
            if isinstance(wanted, RangeByteRequest):
                return storage.read_range(location, wanted.start, wanted.end)
        except FileNotFoundError:
            return None
        file = storage.stat(location)
        if file is None:
            return None
        start = wanted.offset if isinstance(wanted, OffsetByteRequest) else max(0, file.size - wanted.suffix)
        return storage.read_range(location, start, file.size)


class Collection:
    """Several AnnData, one after the other."""

    def __init__(self, members: list[H5ad]) -> None:
        self._members = members
        self.cells = sum(member.cells for member in members)

    def ids(self, name: str) -> list[str]:
        """Return what each gene is called, in each of them."""
        ids = [member.ids(name) for member in self._members]
        if any(others != ids[0] for others in ids):
            message = "the groups of this collection have different genes"
            raise DamagedError(message)
        return ids[0]

    def types(self, name: str) -> list[str] | None:
        """Return the type of each gene, if it has one."""
        return self._members[0].types(name)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a number for each cell, NaN where it is missing."""
        return np.concatenate([member.numbers(name) for member in self._members])

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return a text, a number or a truth value for each cell, None where it is missing."""
        return np.concatenate([member.labels(name) for member in self._members])

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells in all of them."""
        return sorted(set.intersection(*(set(member.columns) for member in self._members)))

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        return pd.concat([member.column(name) for member in self._members], ignore_index=True)

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""
        return np.concatenate([member.detected() for member in self._members])

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the barcode of each cell."""
        return np.concatenate([member.cell_ids(name) for member in self._members])

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some genes, cells by genes."""
        return sparse.vstack([member.counts(rows) for member in self._members], format="csc")

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes."""
        return np.concatenate([member.totals() for member in self._members])


def open_zarr(location: str, layer: str) -> H5ad | Collection:
    """Open a store; DamagedError if it lacks chunks of counts."""
    root = zarr.open_group(_Files(location), mode="r", use_consolidated=False)
    if root.attrs.get("encoding-type") != "annbatch-preshuffled":
        _require_counts(root)
        return H5ad(root, layer)
    names = [name for name in root if re.fullmatch(r"dataset_\d+", name)]
    members = [root[name] for name in sorted(names, key=lambda name: int(name.rpartition("_")[2]))]
    for member in members:
        _require_counts(member)
    return Collection([H5ad(member, layer) for member in members])


def _require_counts(root: Any) -> None:
    for path in ("X", "raw/X", *(f"layers/{name}" for name in root.get("layers", ()))):
        if f"{path}/data" in root and root[f"{path}/data"].nchunks_initialized < root[f"{path}/data"].nchunks:
            message = f"'{path}/data' lacks chunks"
            raise DamagedError(message)
