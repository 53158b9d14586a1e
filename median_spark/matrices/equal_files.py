"""Files of equal content under two names, whose cells would count twice; found by reading little of few files."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from median_spark import storage
from median_spark.errors import MedianSparkError, counted
from median_spark.matrices.sources import SourceFile

_BLOCK_BYTES = 64 << 10
_BLOCKS = 16
"""Blocks to compare between the first and the last of a file."""

_SMALL_BYTES = _BLOCK_BYTES * (_BLOCKS + 2)
"""Files up to this size are compared whole, each read by one request."""

_MOST_COMPARED = 2_000
"""Most files to compare; 1.2 MB of each is read."""

_READ_AT_ONCE = 16
_SHOWN = 3


def equal_contents(sources: Sequence[SourceFile]) -> list[str]:
    """Return warnings about sources whose files have equal content, as far as is seen without reading them whole.

    Files of equal size are compared, by their last blocks first and then in blocks spread evenly over them; small files
    are compared whole. A file that cannot be read is left to the conversion, which says so.
    """
    alike = [one for group in _grouped({one: one.file.size or None for one in sources}) for one in group]
    compared = alike[:_MOST_COMPARED]
    groups: list[list[SourceFile]] = []
    digests: dict[SourceFile, tuple[int, bytes] | None] = {}
    with ThreadPoolExecutor(_READ_AT_ONCE) as readers:
        for blocks in (1, _BLOCKS + 2):
            unread = [source for source in compared if blocks == 1 or source.file.size > _SMALL_BYTES]
            digests |= dict(zip(unread, readers.map(partial(_digest, blocks=blocks), unread), strict=True))
            groups = _grouped({source: digests[source] for source in compared})
            compared = [source for group in groups for source in group]
    warnings = [_warning(group) for group in groups[:_SHOWN]]
    if len(groups) > _SHOWN:
        warnings.append(f"warning: {counted(len(groups) - _SHOWN, 'more group')} of files have equal content likewise")
    if len(alike) > _MOST_COMPARED:
        left = counted(len(alike) - _MOST_COMPARED, "file")
        warnings.append(f"note: {left} of the same size as others were not compared with them")
    return warnings


def _warning(group: Sequence[SourceFile]) -> str:
    size = group[0].file.size
    equal = (
        "the same content" if size <= _SMALL_BYTES else f"the same size and the same content in {_BLOCKS + 2} places"
    )
    paths = [source.file.path for source in group]
    names = " and ".join(paths) if len(paths) == 2 else f"{paths[0]}, {paths[1]} and {len(paths) - 2:,} more"
    return (
        f"warning: {names} have {equal}: if they are copies, their cells count twice; take all but one away, and out "
        "of the table with 'median-spark remove' if they were converted before"
    )


def _grouped(keys: Mapping[SourceFile, object]) -> list[list[SourceFile]]:
    """Return groups of two and more sources of the same key, in the order of the first of each; None is no key."""
    groups: dict[object, list[SourceFile]] = {}
    for source, key in keys.items():
        if key is not None:
            groups.setdefault(key, []).append(source)
    return [group for group in groups.values() if len(group) > 1]


def _digest(source: SourceFile, blocks: int) -> tuple[int, bytes] | None:
    """Return size and fingerprint of some blocks of a file, the last among them, or None if it cannot be read."""
    location, size = source.file.path, source.file.size
    last = max(0, size - _BLOCK_BYTES)
    length, offsets = _BLOCK_BYTES, [last]
    if size <= _SMALL_BYTES:
        length, offsets = _SMALL_BYTES, [0]
    elif blocks > 1:
        offsets = [last * place // (_BLOCKS + 1) for place in range(_BLOCKS + 2)]
    digest = hashlib.sha256()
    try:
        filesystem, path = storage.resolve(location)
        with storage.with_retries(location, lambda: filesystem.open_input_file(path)) as stream:
            for offset in offsets:
                digest.update(storage.with_retries(location, partial(stream.read_at, length, offset)))
    except (OSError, MedianSparkError):
        return None
    return size, digest.digest()
