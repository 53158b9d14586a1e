"""Records of sources on disk: files of many records, of which later ones replace earlier ones of the same source.

A file holds JSON lines. The first has the format version. Each of the others is a record, the name of a source that was
removed, or what several records have in common, which these refer to by its number. A file appears whole, and its name
tells its place in the order.

Many small files are merged into one, so that there are few to read: the newest files, once there are `MERGED_AT_ONCE`
of the same level, become one file of the next level, which comes after them. It says the same as they do, so it does
not matter which of them are still there. So levels never ascend from older to newer files, but where files have been
merged and not been removed yet.
"""

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from median_spark.expression.records import FORMAT_VERSION, SourceRecord, check_format_version, naming_damage

MERGED_AT_ONCE = 16
"""Files that are merged into one: a corpus of 61,378 commits has at most 60 files, and each record is moved 4 times."""

_NAME = re.compile(r"(\d{8})-[0-9a-f]{8}(?:-(\d+))?\.jsonl")

_COMMON = ("parameters", "software")
_NEWER = ("cell_columns",)
"""Fields of a record that are in a line that it shares with others, and those that older files lack there."""


@dataclass(frozen=True)
class Removal:
    """A source that was taken out of the table."""

    source: str


def is_log(name: str) -> bool:
    """Say whether a file's name is that of a log."""
    return _NAME.fullmatch(name) is not None


def next_name(names: Sequence[str], level: int = 0) -> str:
    """Return the name of a log of a level that comes after those of some names."""
    last = max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=0)
    return f"{last + 1:08d}-{uuid.uuid4().hex[:8]}{f'-{level}' if level else ''}.jsonl"


def current_logs(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the logs among some names that count, and those that were merged into one of these, both ascending."""
    counting: list[str] = []
    merged: list[str] = []
    highest = 0
    for name in sorted(filter(is_log, names), reverse=True):
        (merged if level_of(name) < highest else counting).append(name)
        highest = max(highest, level_of(name))
    return counting[::-1], merged[::-1]


def logs_to_merge(names: Sequence[str]) -> list[str]:
    """Return the newest of the logs that count, ascending, if they are to become one file; else none."""
    newest = list(takewhile(lambda name: level_of(name) == level_of(names[-1]), reversed(names)))
    return newest[::-1] if len(newest) >= MERGED_AT_ONCE else []


def level_of(name: str) -> int:
    """Return how often the records of a log have been merged; 0 for other files."""
    match = _NAME.fullmatch(name)
    return int(match[2] or 0) if match else 0


def encode_records(entries: Sequence[SourceRecord | Removal]) -> bytes:
    """Return the content of a file of records."""
    return _encode(_Entry.of(entry) for entry in entries)


def decode_records(location: str, content: bytes) -> Iterator[SourceRecord | Removal]:
    """Yield what `encode_records` wrote; raise `TableError` if it is damaged or of another format version."""
    for entry in _decode(location, content):
        if entry.document is None:
            yield Removal(entry.source)
        else:
            document = {**entry.document, **entry.common, "format_version": FORMAT_VERSION}
            yield SourceRecord.from_json(location, document)


def merge_records(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return one file that says the same as several, which are given with their locations in their order."""
    last: dict[str, _Entry] = {}
    for location, content in files:
        for entry in _decode(location, content):
            last[entry.source] = entry
    return _encode(last.values())


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record as it is stored: in a line of its own, and in one that it shares; no document if it is removed."""

    source: str
    document: Mapping[str, Any] | None
    common: Mapping[str, Any]

    @classmethod
    def of(cls, entry: SourceRecord | Removal) -> "_Entry":
        if isinstance(entry, Removal):
            return cls(entry.source, None, {})
        document = entry.as_json()
        del document["format_version"]
        common = {name: document.pop(name) for name in (*_COMMON, *_NEWER)}
        return cls(entry.source, document, common)


def _encode(entries: Iterable[_Entry]) -> bytes:
    lines: list[Mapping[str, Any]] = [{"format_version": FORMAT_VERSION}]
    numbers: dict[str, int] = {}
    for entry in entries:
        if entry.document is None:
            lines.append({"removed": entry.source})
            continue
        key = json.dumps(entry.common)
        if key not in numbers:
            numbers[key] = len(numbers)
            lines.append(entry.common)
        lines.append({**entry.document, "common": numbers[key]})
    return "".join(f"{json.dumps(line, ensure_ascii=False, separators=(',', ':'))}\n" for line in lines).encode()


def _decode(location: str, content: bytes) -> Iterator[_Entry]:
    with naming_damage(location):
        first, *rest = content.splitlines()
        check_format_version(location, json.loads(first)["format_version"])
        commons: list[dict[str, Any]] = []
        for line in rest:
            document = json.loads(line)
            if "removed" in document:
                yield _Entry(document["removed"], None, {})
            elif "source" in document:
                yield _Entry(document["source"], document, commons[document.pop("common")])
            else:
                newer = {name: document[name] for name in _NEWER if name in document}
                commons.append({name: document[name] for name in _COMMON} | newer)
