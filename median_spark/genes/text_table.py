"""The columns of a table in text, for the gene table and the gene map. Knows nothing of what they mean.

Understands what people have: separators other than commas, what R's write.csv and write.table leave, files that are
compressed, comment lines before the header.
"""

import csv
import gzip
import io
import zlib

from median_spark import storage
from median_spark.errors import MedianSparkError, listed
from median_spark.file_kinds import binary_kind

_SEPARATORS = "\t,; "
"""In this order: a header with tabs may have blanks and commas in its names."""

_MOST_BYTES = 256 * 2**20
"""Largest table accepted, decompressed; those of Ensembl have some 10 MB."""


def read_content(location: str, what: str, refusal: type[MedianSparkError]) -> bytes:
    """Return a file's bytes; `what` it must be and the error class are for the case that it cannot be read."""
    try:
        return storage.read_bytes(location)
    except storage.UNREADABLE as error:
        message = f"{location}: the {what} cannot be read ({error})"
        raise refusal(message) from error


def require_text(head: bytes, location: str, what: str, allowed: str, refusal: type[MedianSparkError]) -> None:
    """Refuse a file that begins as one of another kind does; the sentence ends with what is allowed instead."""
    kind = binary_kind(head)
    if kind is not None:
        message = f"{location}: the {what} cannot be read as CSV (it is {kind}): the {what} must be {allowed}"
        raise refusal(message)


def read_columns(location: str, what: str, allowed: str, refusal: type[MedianSparkError]) -> dict[str, list[str]]:
    """Return the columns of a CSV file, every field as text without blanks around it, also fields such as NA and 007.

    The separator is the first of tab, comma, semicolon and blank that the header has. The header may be one column
    shorter than the rows, which then begin with a row's name, as R's write.table leaves them. Of columns with the same
    name the first is taken. The file may be gzipped, and may begin with comment lines (``#``).
    """
    try:
        content = _decompressed(read_content(location, what, refusal))
        require_text(content, location, what, allowed, refusal)
        header, rows = _split(_text(content))
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        message = f"{location}: the {what} cannot be read as CSV ({error})"
        raise refusal(message) from error
    places = {name: header.index(name) for name in header}
    return {name: [row[place] for row in rows] for name, place in places.items()}


def _decompressed(content: bytes) -> bytes:
    """Return a file's content, decompressed if it is gzipped."""
    if content.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            message = f"it has more than {_MOST_BYTES:,} bytes once it is decompressed"
            raise ValueError(message)
    return content


def _text(content: bytes) -> str:
    """Return a file's text, UTF-8 or UTF-16 with a mark as Excel saves it, from the header on."""
    try:
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        message = "it is not text" if b"\0" in content else f"it is not text in UTF-8: save it as UTF-8; {error}"
        raise ValueError(message) from error
    lines = text.splitlines(keepends=True)
    begin = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if begin is None:
        message = "it is empty" if not text.strip() else "it has nothing but lines of comment"
        raise ValueError(message + ": it must have a header with the names of its columns")
    return "".join(lines[begin:])


def _split(text: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows, each row as long as the header."""
    lines = io.StringIO(text, newline=None)  # of Windows and of old Macs, too
    first = lines.readline()
    separator = next((mark for mark in _SEPARATORS if len(next(csv.reader([first], delimiter=mark), [])) > 1), ",")
    lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    stripped = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    numbered = [(number, row) for number, row in stripped if any(row)]
    if not numbered:
        message = "it has no names of columns"
        raise ValueError(message)
    header = numbered.pop(0)[1]
    rows = [row for _, row in numbered]
    if rows and all(len(row) == len(header) + 1 for row in rows):
        if any(row[-1] for row in rows):
            return ["", *header], rows  # the names of R's rows
        return header, [row[:-1] for row in rows]  # a separator at the end of each row
    for number, row in numbered:
        if len(row) != len(header):
            message = (
                f"line {number} has {len(row)} fields where the header has {len(header)}: {listed(row, 4)}; "
                f"the header is {listed(header, 8)}"
            )
            raise ValueError(message)
    return header, rows
