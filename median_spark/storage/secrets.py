"""Secrets in the text of locations: where they are, and the same text without them. Looks at no disk."""

import re
from urllib.parse import unquote

_NAME = (
    r"[\w.-]*(?:signature|token|secret|passw(?:or)?d|credential|access.?key|account.?key|api.?key|private.?key)[\w.-]*"
    r"|sig|sas|pwd|pass|auth|authorization"
)
"""A parameter whose value lets somebody in: of AWS, Google, Azure, or of anybody who calls it what it is."""

_PARAMETER = re.compile(rf"([?&;#]|%3f|%26|%3b|%23)({_NAME})(=|%3d)([^&;#\s'\"]*)", re.IGNORECASE)

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/+)([^\s'\"]*)")

_KEY_SCHEMES = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "http", "https"})
"""Schemes whose authority has no part before an ``@`` but a user or a key."""


def find_parameter(location: str) -> str | None:
    """Return the name of a parameter of a URI whose value is a secret, or None."""
    found = _PARAMETER.search(_decoded(location))
    return found.group(2) if found else None


def has_keys(scheme: str, rest: str) -> bool:
    """Say whether what follows a scheme carries a user's name and password, or keys.

    A key may hold slashes, so that the ``@`` that ends it comes later than the authority seems to end. What follows a
    colon in an authority is a port, or is not meant to be seen.
    """
    rest = _decoded(rest)
    authority = rest.split("/", 1)[0]
    scheme = scheme.lower()
    if "@" in authority:
        return scheme in _KEY_SCHEMES or ":" in authority.rsplit("@", 1)[0]
    _, colon, port = authority.partition(":")
    return bool(colon) and "@" in rest and not port.isdecimal()


def without_secrets(text: str) -> str:
    """Return a text, such as an error message, with ``…`` for each secret in a URI in it.

    Parameters
    ----------
    text : str
        Any text.
    """
    return _PARAMETER.sub(r"\1\2\3…", _URI.sub(_without_keys, text))


def _without_keys(found: re.Match[str]) -> str:
    scheme, slashes, rest = found.groups()
    if not has_keys(scheme, rest):
        return found.group()
    ending = re.split(r"@|%(?:25)*40", rest, flags=re.IGNORECASE)[-1]
    return f"{scheme}:{slashes}…@{ending}"


def _decoded(text: str) -> str:
    """Undo percent-encoding, also where it was done several times."""
    for _ in range(4):
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return text
