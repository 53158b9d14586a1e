"""The genes of an annotation, GTF or GFF3 as Ensembl and GENCODE publish them: ids, types and names of its gene lines.

Annotations have millions of lines, so they are streamed, also out of gzip, and only gene lines are parsed.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from median_spark import storage
from median_spark.errors import GeneTableError, MedianSparkError, listed
from median_spark.genes.text_table import require_text

ALLOWED = "a CSV, a TSV, a GTF or a GFF3, which may be gzipped"
"""What a gene table may be, for people."""

_CHUNK = 1 << 22
_HEAD = 1 << 16
_LONGEST_LINE = 1 << 20
_MOST_BYTES = 16 << 30
"""Largest annotation accepted, decompressed; those of human and mouse have 1 to 2 GB."""

_MOST_GENE_BYTES = 1 << 28
"""Bytes of gene lines accepted; those of human have 20 MB."""

_KINDS = {"GTF": ("gene",), "GFF3": ("gene", "ncRNA_gene", "pseudogene")}
"""Third columns of gene lines."""

_LINE = re.compile(
    r"[^\t\n]+\t[^\t\n]*\t[^\t\n]+\t\d+\t\d+\t[^\t\n]*\t[-+.?]\t[^\t\n]*\t(?P<attributes>[^\t\n]*)(?:\n|$)", re.ASCII
)
_GTF_ATTRIBUTE = re.compile(r'\s*([^\s;"=]+)\s+("[^"]*"|[^;"]*)\s*(?:;|$)')

_TYPES = ("gene_type", "gene_biotype", "biotype")
_NAMES = ("gene_name", "Name", "gene_symbol")


@dataclass(frozen=True)
class GeneColumns:
    """The columns of a gene table, one entry per row; names are empty where there is none."""

    id_column: str
    ids: list[str]
    gene_types: list[str]
    names: list[str]


def read_annotation(location: str) -> GeneColumns | None:
    """Return the genes of an annotation, told by its first line; None if a file is none.

    Ids are as the annotation has them: GENCODE's have versions, and the genes of PAR a second one that ends in
    ``_PAR_Y``; Ensembl keeps versions in ``gene_version``, and they are not added.

    GeneTableError if it cannot be read, has no gene lines, or a gene lacks its id or type.
    """
    head = _head(location)
    require_text(head, location, "gene table", ALLOWED, GeneTableError)  # before all of a large matrix is read
    kind = _kind_of(head)
    if kind is None:
        return None
    parse = _gff3_attributes if kind == "GFF3" else _gtf_attributes
    try:
        lines = storage.with_retries(location, lambda: list(_gene_lines(location, _KINDS[kind])))
        columns = _columns(lines, parse)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException, MedianSparkError) as error:
        message = f"{location}: the gene table cannot be read as {kind} ({error})"
        raise GeneTableError(message) from error
    return columns


def _head(location: str) -> bytes:
    """Return the first bytes, decompressed; nothing of what is damaged, which readers of other forms will refuse."""

    def read() -> bytes:
        with _opened(location) as stream:
            try:
                return bytes(stream.read(_HEAD))
            except (EOFError, zlib.error, gzip.BadGzipFile):
                return b""

    try:
        return storage.with_retries(location, read)
    except FileNotFoundError as error:
        message = f"{location}: there is no such gene table"
        raise GeneTableError(message) from error
    except storage.UNREADABLE as error:
        message = f"{location}: the gene table cannot be read ({error})"
        raise GeneTableError(message) from error


def _opened(location: str) -> Any:
    """Return a stream of a file's content, decompressed if it is gzipped."""
    filesystem, path = storage.resolve(location)
    with filesystem.open_input_stream(path) as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    stream = filesystem.open_input_stream(path, buffer_size=_CHUNK)
    return gzip.GzipFile(fileobj=stream) if compressed else stream


def _kind_of(head: bytes) -> str | None:
    """Return which annotation a file is by its first line that is no comment, None if it is none."""
    lines = (line for line in head.decode("utf-8", "replace").splitlines() if line.strip() and line[0] != "#")
    match = _LINE.fullmatch(next(lines, ""))
    if match is None:
        return None
    return "GFF3" if re.match(r"[^\s;=\"]+=", match["attributes"]) else "GTF"


def _gene_lines(location: str, kinds: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of an annotation whose third column is one of some."""
    needles = [f"\t{kind}\t".encode() for kind in kinds]
    held = 0
    with _opened(location) as stream:
        for block in _whole_lines(stream):
            for needle in needles:
                place = block.find(needle)
                while place >= 0:
                    begin, end = block.rfind(b"\n", 0, place) + 1, block.find(b"\n", place)
                    line = block[begin : end if end >= 0 else len(block)]
                    if line.count(b"\t", 0, place - begin) == 1 and not line.startswith(b"#"):
                        held += len(line)
                        _limit(held, _MOST_GENE_BYTES, "of gene lines")
                        yield line.decode("utf-8")
                    place = block.find(needle, begin + len(line))


def _whole_lines(stream: Any) -> Iterator[bytes]:
    """Yield a stream in blocks that end with a line."""
    rest, read = b"", 0
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        _limit(read, _MOST_BYTES, "once it is decompressed")
        block = rest + chunk
        cut = block.rfind(b"\n") + 1
        rest = block[cut:]
        _limit(len(rest), _LONGEST_LINE, "in one line")
        if cut:
            yield block[:cut]
    if rest:
        yield rest


def _limit(length: int, most: int, what: str) -> None:
    if length > most:
        message = f"it has more than {most:,} bytes {what}"
        raise ValueError(message)


def _columns(lines: list[str], parse: Callable[[str], dict[str, str]]) -> GeneColumns:
    ids, gene_types, names = [], [], []
    for line in lines:
        fields = line.rstrip("\r").split("\t")
        attributes = parse(fields[8]) if len(fields) == 9 else {}
        gene = attributes.get("gene_id")
        gene_type = next((attributes[name] for name in _TYPES if name in attributes), None)
        if gene is None or gene_type is None:
            lacking = "gene_id" if gene is None else "gene_type or gene_biotype"
            message = f"a gene line has no {lacking}: {listed([line.replace(chr(9), ' ')], 1)}"
            raise ValueError(message)
        ids.append(gene)
        gene_types.append(gene_type)
        names.append(next((attributes[name] for name in _NAMES if attributes.get(name)), ""))
    if not ids:
        message = "it has no line of a gene, only of other features: take one of Ensembl or GENCODE, or a CSV"
        raise ValueError(message)
    return GeneColumns("gene_id", ids, gene_types, names)


def _gtf_attributes(text: str) -> dict[str, str]:
    """Return attributes such as ``gene_id "ENSG1"; level 2;``; the first of one name."""
    return {name: value.strip(' "') for name, value in reversed(_GTF_ATTRIBUTE.findall(text))}


def _gff3_attributes(text: str) -> dict[str, str]:
    """Return attributes such as ``ID=gene:ENSG1;biotype=lncRNA``."""
    pairs = (pair.strip().partition("=") for pair in text.split(";"))
    return {name: unquote(value) for name, _, value in pairs}
