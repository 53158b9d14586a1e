"""Names as they stand in folders' and files' names, and as they are shown. Looks at no disk."""

import hashlib
import os
from urllib.parse import quote, unquote

LONGEST_NAME = 200
"""Bytes of an encoded name: with what goes before and after it, it must fit the 255 of a file system."""

_ESCAPED = frozenset("\"#%'*/:=?\\{}[]^&<>|`")
"""What is always encoded: file systems, Hive's partition names or URIs give these a meaning."""


def encode_name(name: str) -> str:
    """Encode a name for use in the name of a folder or file, such as ``source=…``.

    The name is url-encoded. Where that is too long for a file system, which is soon so in scripts whose letters take
    three bytes each, letters stand for themselves and only signs with a meaning are encoded. Both are decoded alike.

    Parameters
    ----------
    name : str
        Any text of valid Unicode.
    """
    encoded = quote(name, safe="")
    if len(encoded) <= LONGEST_NAME:
        return encoded
    return "".join(
        quote(sign, safe="") if sign in _ESCAPED or not (sign.isprintable() or sign == " ") else sign for sign in name
    )


def decode_name(encoded: str) -> str:
    """Return a name from what `encode_name` made of it."""
    return unquote(encoded)


def fitted_name(name: str) -> str:
    """Return a name that fits a file system once it is encoded: itself, or its beginning and end and a fingerprint."""
    if _encoded_bytes(name) <= LONGEST_NAME:
        return name
    mark = f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}~"
    shortened, kept = name, LONGEST_NAME
    while _encoded_bytes(shortened) > LONGEST_NAME:
        kept -= 1
        shortened = name[: kept - kept // 2] + mark + name[len(name) - kept // 2 :]
    return shortened


def shown(text: str) -> str:
    r"""Return a name or path whose bytes may be no UTF-8 as text that can be written; such bytes become ``\xff``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace") if not is_text(text) else text


def is_text(text: str) -> bool:
    """Say whether a name or path from the operating system is valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoded_bytes(name: str) -> int:
    return len(encode_name(name).encode())
