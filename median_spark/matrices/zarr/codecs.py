"""blosc with a check that it lacks: it reads beyond the bytes that it is given if they say that they are more.

A chunk that is cut off would give any memory as its numbers, or crash (https://github.com/zarr-developers/numcodecs,
issue 228). `checked_blosc` is in force while an array is opened.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numcodecs
import numcodecs.blosc
import zarr
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

_HEADER = 16
_SIZE = slice(12, 16)


def _check(stored: Any) -> None:
    """Reject bytes that are fewer than they say."""
    content = ensure_contiguous_ndarray(stored).view("u1")
    declared = int.from_bytes(content[_SIZE].tobytes(), "little")
    if len(content) < _HEADER or declared > len(content):
        message = f"a chunk of {len(content):,} bytes is only a part of one of blosc"
        raise ValueError(message)


class CheckedBlosc(numcodecs.blosc.Blosc):  # type: ignore[misc]
    """The compressor of zarr 2."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decompress a chunk that is whole."""
        _check(buf)
        return super().decode(buf, out)


class CheckedBloscCodec(BloscCodec):  # type: ignore[misc]
    """The codec of zarr 3."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


register_codec("blosc", CheckedBloscCodec)


@contextlib.contextmanager
def checked_blosc() -> Iterator[None]:
    """Let arrays that are opened in this block have the codecs of this module."""
    numcodecs.register_codec(CheckedBlosc)
    try:
        with zarr.config.set({"codecs.blosc": f"{CheckedBloscCodec.__module__}.{CheckedBloscCodec.__qualname__}"}):
            yield
    finally:
        numcodecs.register_codec(numcodecs.blosc.Blosc)
