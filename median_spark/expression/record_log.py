"""Records of sources on disk: files of many records, of which later ones replace earlier ones of the same source.

A file holds JSON lines. The first has the format version. Each of the others is a record, the name of a source that was
removed, or what several records have in common, which these refer to by its number. A file appears whole, and its name
tells its place in the order.
"""

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from median_spark.expression.records import FORMAT_VERSION, SourceRecord, check_format_version, naming_damage

_NAME = re.compile(r"(\d{8})-[0-9a-f]{8}\.jsonl")

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


def next_name(names: Sequence[str]) -> str:
    """Return the name of a log that comes after those of some names."""
    last = max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=0)
    return f"{last + 1:08d}-{uuid.uuid4().hex[:8]}.jsonl"


def encode_records(entries: Sequence[SourceRecord | Removal]) -> bytes:
    """Return the content of a file of records."""
    lines: list[dict[str, Any]] = [{"format_version": FORMAT_VERSION}]
    numbers: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, Removal):
            lines.append({"removed": entry.source})
            continue
        document = entry.as_json()
        del document["format_version"]
        common = {name: document.pop(name) for name in (*_COMMON, *_NEWER)}
        key = json.dumps(common)
        if key not in numbers:
            numbers[key] = len(numbers)
            lines.append(common)
        lines.append({**document, "common": numbers[key]})
    return "".join(f"{json.dumps(line, ensure_ascii=False, separators=(',', ':'))}\n" for line in lines).encode()


def decode_records(location: str, content: bytes) -> Iterator[SourceRecord | Removal]:
    """Yield what `encode_records` wrote; raise `TableError` if it is damaged or of another format version."""
    with naming_damage(location):
        first, *rest = content.splitlines()
        version = json.loads(first)["format_version"]
        check_format_version(location, version)
        commons: list[dict[str, Any]] = []
        for line in rest:
            document = json.loads(line)
            if "removed" in document:
                yield Removal(document["removed"])
            elif "source" in document:
                common = commons[document.pop("common")]
                yield SourceRecord.from_json(location, {**document, **common, "format_version": version})
            else:
                newer = {name: document[name] for name in _NEWER if name in document}
                commons.append({name: document[name] for name in _COMMON} | newer)
