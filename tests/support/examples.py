"""How many examples a property is tried on: a few in make test, all of them in make test-slow and make test-seeds."""

from typing import Any

from hypothesis import settings

FEWEST = 5
ALL = 100
"""Examples of a property that says nothing else, in the profiles that try all of them; see tests/conftest.py."""


def examples(number: int, **others: Any) -> settings:
    """Return the settings of a property that needs another number of examples than most; `others` are as they are."""
    share = settings().max_examples / ALL
    return settings(max_examples=min(number, max(FEWEST, round(number * share))), **others)
