"""Inflating with libdeflate's own function and with the package's: the same bytes, the same refusals."""

import zlib

import numpy as np
import pytest

from median_spark.matrices.hdf5 import tiles as module
from median_spark.matrices.hdf5.tiles import DamagedTileError, inflate_tiles

TILE = 4096


@pytest.fixture(params=["compiled", "one by one"])
def way(request, monkeypatch):
    if request.param == "one by one":
        monkeypatch.setattr(module, "_library", lambda: None)
    else:
        assert module._library() is not None, "the package deflate shows libdeflate's functions here"
    return request.param


def streams(contents):
    """Return some streams behind each other, some bytes apart, and where each is."""
    packed = [zlib.compress(content, 2) for content in contents]
    sizes = np.array([len(each) for each in packed], dtype=np.int64)
    stored = b"".join(b"\xee" * 3 + each for each in packed)
    offsets = np.cumsum(sizes + 3) - sizes
    return np.frombuffer(stored, dtype=np.uint8), offsets, sizes


def drawn(tiles, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.poisson(0.06, (tiles, TILE)) * rng.integers(1, 200, (tiles, TILE))).astype(np.uint8)


def test_every_stream_fills_its_slot(way):
    contents = drawn(40)
    order = np.random.default_rng(2).permutation(40)
    tiles = np.full((41, TILE), 7, dtype=np.uint8)
    inflate_tiles(*streams([content.tobytes() for content in contents]), order, tiles)
    assert np.array_equal(tiles[order], contents)
    assert np.all(tiles[40] == 7)


def test_no_stream_is_no_work(way):
    none = np.zeros(0, dtype=np.int64)
    inflate_tiles(np.zeros(0, dtype=np.uint8), none, none, none, np.zeros((1, TILE), dtype=np.uint8))


@pytest.mark.parametrize("content", [b"", b"x" * (TILE - 1), b"x" * (TILE + 1)])
def test_a_stream_of_another_size_is_refused_by_its_number(way, content):
    contents = [bytes(TILE), bytes(TILE), content, bytes(TILE)]
    with pytest.raises(DamagedTileError, match="size of a tile") as refused:
        inflate_tiles(*streams(contents), np.arange(4), np.zeros((4, TILE), dtype=np.uint8))
    assert refused.value.number == 2


@pytest.mark.parametrize("place", ["head", "middle", "checksum"])
def test_a_damaged_stream_is_refused_by_its_number(way, place):
    stored, offsets, sizes = streams([each.tobytes() for each in drawn(3)])
    damaged = stored.copy()
    at = {"head": 0, "middle": int(sizes[1]) // 2, "checksum": int(sizes[1]) - 1}[place]
    damaged[offsets[1] + at] ^= 0xFF
    with pytest.raises(DamagedTileError) as refused:
        inflate_tiles(damaged, offsets, sizes, np.arange(3), np.zeros((3, TILE), dtype=np.uint8))
    assert refused.value.number == 1
