"""What a file that should be text is instead, told by its first bytes."""

_KINDS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as .loom or .h5ad"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive, such as an Excel workbook: save it as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook: save it as CSV"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF-", "a PDF"),
    *((bytes([0x80, protocol]), "a pickle") for protocol in range(2, 6)),
)


def binary_kind(content: bytes) -> str | None:
    """Return what a file is that begins with these bytes, with an article; None if it may be text.

    Examples
    --------
    >>> binary_kind(b"PAR1...")
    'a Parquet file'
    """
    return next((kind for first, kind in _KINDS if content.startswith(first)), None)
