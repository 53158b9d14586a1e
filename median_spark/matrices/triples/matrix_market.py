"""Matrix Market files: a header, and then lines of row, column and count, in any order.

Read with pyarrow in blocks, so that memory does not grow with the file. scipy and fast_matrix_market read as fast, but
only whole files, and take ``3.5`` for 3 in a file of whole numbers.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pyarrow as pa
from pyarrow import csv

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices.contract import Int32s, Numbers, brief
from median_spark.matrices.triples.files import open_text

_BLOCK_BYTES = 1 << 20
"""Bytes of text to parse at once: larger blocks leave the processor's cache and are slower."""

_LONGEST_HEADER = 1 << 20
"""Bytes that comments may take."""

_SHORTEST_ENTRY = len("1 1 1")

_DENSEST = 1032
"""Bytes that gzip can make of one."""

_NUMBERS = {"integer": pa.int32(), "unsigned-integer": pa.int32(), "real": pa.float64(), "double": pa.float64()}


@dataclass(frozen=True)
class Header:
    """Declarations of a Matrix Market file: its rows, columns and entries, and whether its counts are `whole`."""

    rows: int
    columns: int
    entries: int
    whole: bool


@dataclass(frozen=True)
class Triples:
    """Some entries of a matrix, in the order of the file; rows and columns count from 0."""

    rows: Int32s
    columns: Int32s
    counts: Numbers


def read_header(location: str) -> Header:
    """Read the header of a file; InputError if it is none of a sparse matrix of numbers."""
    with open_text(location) as stream:
        header, _ = _read_header(location, _buffered(stream))
        file = storage.stat(location)
        size = file.size if file is not None else 0
        if header.entries > size * (_DENSEST if stream.gzipped else 1) // _SHORTEST_ENTRY:
            _refuse_number(location, header, f"{size:,} bytes")
        return header


def read_triples(location: str, header: Header) -> Iterator[Triples]:
    """Yield the entries of a file in blocks.

    InputError if it is damaged, an entry lies outside the matrix, or there are more or fewer than the header declares.
    """
    with open_text(location) as stream:
        # pyarrow closes its file when it is done, and the header must not be read again.
        text = _buffered(stream)
        found, separator = _read_header(location, text)
        if found != header:
            message = f"{location}: this file changes while it is read"
            raise InputError(message)
        read = 0
        for batch in _batches(location, text, header, separator):
            triples = _checked(location, batch, header, read)
            read += len(triples.counts)
            if read > header.entries:
                _refuse_number(location, header, f"more than {header.entries:,}")
            yield triples
        if read < header.entries:
            _refuse_number(location, header, f"{read:,}")


def _buffered(stream: storage.ForwardStream) -> io.BufferedReader:
    return io.BufferedReader(stream, _BLOCK_BYTES)


def _read_header(location: str, text: io.BufferedReader) -> tuple[Header, str]:
    """Read up to the first entry; return the header, and the sign between the fields of entries."""
    words = text.readline(_LONGEST_HEADER).decode("utf-8", "replace").lower().split()
    if len(words) != 5 or words[0] != "%%matrixmarket" or words[1] != "matrix":
        message = (
            f"{location}: this is not a Matrix Market file; its first line must be like "
            f"'%%MatrixMarket matrix coordinate integer general', and is '{brief(' '.join(words))}'"
        )
        raise InputError(message)
    if words[2] != "coordinate" or words[3] not in _NUMBERS or words[4] != "general":
        message = (
            f"{location}: its header says '{brief(' '.join(words[2:]))}'; only 'coordinate' matrices of 'integer' or "
            "'real' numbers that are 'general' can be read"
        )
        raise InputError(message)
    line, seen = b"%", 0
    while line.startswith(b"%") or not line.strip():
        line = text.readline(_LONGEST_HEADER)
        seen += len(line)
        if not line or seen > _LONGEST_HEADER:
            message = f"{location}: its header ends before it declares numbers of rows, columns and entries"
            raise InputError(message)
    fields = line.split()
    if len(fields) != 3 or not all(field.isdigit() and len(field) <= 18 for field in fields):
        message = (
            f"{location}: its header must declare three whole numbers, rows, columns and entries, and has "
            f"'{brief(line.decode('utf-8', 'replace').strip())}'"
        )
        raise InputError(message)
    rows, columns, entries = map(int, fields)
    if max(rows, columns) >= np.iinfo(np.int32).max:
        message = f"{location}: its header declares {rows:,} rows and {columns:,} columns; the file is damaged"
        raise InputError(message)
    beginning = text.peek(64)
    separator = "\t" if b"\t" in beginning.partition(b"\n")[0] else " "
    return Header(rows, columns, entries, words[3].endswith("integer")), separator


def _batches(location: str, text: io.BufferedReader, header: Header, separator: str) -> Iterator[pa.RecordBatch]:
    kind = _NUMBERS["integer" if header.whole else "real"]
    if not text.peek(1).strip():  # pyarrow reads no empty text
        return
    reading = csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=["row", "column", "count"])
    parsing = csv.ParseOptions(delimiter=separator, quote_char=False)
    converting = csv.ConvertOptions(
        column_types={"row": pa.int32(), "column": pa.int32(), "count": kind}, null_values=[], strings_can_be_null=False
    )
    with _naming_line(location):
        reader = csv.open_csv(pa.PythonFile(text, "r"), reading, parsing, converting)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            yield batch


@contextlib.contextmanager
def _naming_line(location: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        message = (
            f"{location}: an entry cannot be read ({str(error).splitlines()[0]}): each line must have a row, a column "
            "and a count, with one space or tab between them"
        )
        raise InputError(message) from error


def _checked(location: str, batch: pa.RecordBatch, header: Header, read: int) -> Triples:
    rows, columns = (batch.column(place).to_numpy() - 1 for place in (0, 1))
    for what, numbers, most in (("row", rows, header.rows), ("column", columns, header.columns)):
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= most):
            wrong = int(np.flatnonzero((numbers < 0) | (numbers >= most))[0])
            message = (
                f"{location}: entry {read + wrong + 1:,} is in {what} {int(numbers[wrong]) + 1:,}, where the header "
                f"declares {most:,}; the file is damaged"
            )
            raise InputError(message)
    return Triples(rows, columns, batch.column(2).to_numpy())


def _refuse_number(location: str, header: Header, found: str) -> NoReturn:
    message = (
        f"{location}: its header declares {header.entries:,} entries, and it has {found}: it is cut off or damaged, "
        "copy it again from where it came"
    )
    raise InputError(message)
