"""How numbers and names are written on the page: thousands separators, and as many digits as mean something."""

import math
import re
from dataclasses import is_dataclass

from markupsafe import Markup, escape

UNKNOWN = "unknown"


def whole(number: float | None) -> str:
    """Return ``"12,345"``; halves keep their half."""
    if number is None:
        return UNKNOWN
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def value(number: float | None, digits: int = 4) -> str:
    """Return a median, or another figure that may be of any size, with so many significant digits, zeros included."""
    if number is None or math.isnan(number):
        return "none"
    if abs(number) >= 10**digits or abs(number) >= 1000:
        return f"{number:,.0f}"
    return _raised(f"{number:#.{digits}g}".rstrip("."))


def plain(number: float) -> str:
    """Return a round number with no more digits than it needs."""
    return f"{number:,.0f}" if abs(number) >= 1000 else _raised(f"{number:g}")


def _raised(text: str) -> str:
    """Write a power of ten as people do."""
    if "e" not in text:
        return text
    digits, power = text.split("e")
    return f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def percent(fraction: float | None) -> str:
    """Return ``"93.4 %"``; more digits where it is small."""
    if fraction is None or math.isnan(fraction):
        return UNKNOWN
    if fraction == 0:
        return "0\N{NO-BREAK SPACE}%"
    return f"{fraction * 100:{'.1f' if abs(fraction) >= 0.01 else '.2g'}}\N{NO-BREAK SPACE}%"


def change(fraction: float | None) -> str:
    """Return how far a number moves up or down: ``"12.5 %"``, or from a factor of 2 on ``"factor 2.50"``."""
    if fraction is None or not 1 <= fraction < math.inf:
        return percent(fraction)
    return f"factor {value(1 + fraction, 3)}"


def factor(ratio: float) -> str:
    """Return ``"× 2.10"`` or ``"÷ 2.10"``."""
    return f"× {value(ratio, 3)}" if ratio >= 1 else f"÷ {value(1 / ratio, 3)}"


def share(fraction: float) -> str:
    """Return a fraction of 1 over a whole number as ``"1/16"``."""
    return f"1/{1 / fraction:.0f}"


def setting(content: object) -> str:
    """Return a parameter's value in words."""
    if is_dataclass(content):
        content = vars(content)
    if isinstance(content, bool):
        return "yes" if content else "no"
    if content is None:
        return "none"
    if isinstance(content, (int, float)):
        return plain(content)
    if isinstance(content, dict):
        return "; ".join(f"{key}: {setting(each)}" for key, each in content.items())
    if isinstance(content, (list, tuple)):
        return ", ".join(setting(each) for each in content)
    return str(content)


def breakable(name: str) -> Markup:
    """Return a name or path that may be broken after its separators, escaped."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[/_.\-])", name))


def byte_size(size: float | None) -> str:
    """Return ``"1.2 GB"``."""
    if size is None:
        return UNKNOWN
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
