"""The group of cells that dictionaries are of: how it is named, and whether there is such a group."""

import re
from collections.abc import Iterable, Sequence

from median_spark.errors import UsageError, counted, listed
from median_spark.geneformer.dictionaries import Group
from median_spark.options import BY, DICTIONARY_OF


def parse_group(text: str, by: Sequence[str]) -> dict[str, str | None]:
    """Return the group that a text such as ``"assay=10x 3' v3,sex=female"`` names; after ``=`` may be nothing.

    A value may contain commas and equals signs. Raises UsageError if the text does not name each column once.
    """
    columns = "|".join(re.escape(column) for column in sorted(by, key=len, reverse=True))
    found = list(re.finditer(rf"(?:^|,)\s*({columns})=", text)) if by else []
    ends = [match.start() for match in found[1:]] + [len(text)] * bool(found)
    group = {match[1]: text[match.end() : end].strip() or None for match, end in zip(found, ends, strict=True)}
    if not found or found[0].start() > 0 or len(found) > len(group) or set(group) != set(by):
        example = group_text(dict.fromkeys(by, "…"))
        wanted = f"a value of each, as in '{example}', not" if by else f"{BY} with its columns for"
        message = f"{DICTIONARY_OF:name} needs {wanted} '{text}'"
        raise UsageError(message)
    return group


def check_group_columns(group: Group, by: Sequence[str]) -> None:
    """Raise UsageError if a group does not have a value, or None, for each column that cells are grouped by."""
    if set(group) != set(by):
        columns = listed(list(by)) if by else "none"
        message = (
            f"{DICTIONARY_OF:name} must have a value of each column of {BY:name}, here {columns}, not {dict(group)}"
        )
        raise UsageError(message)


def check_group(group: Group, by: Sequence[str], groups: Iterable[Sequence[str | None]]) -> None:
    """Raise UsageError, which lists the groups, if one is not among them; each has a value, or None, per column."""
    every = [dict(zip(by, names, strict=True)) for names in groups]
    if dict(group) not in every:
        names = [group_text(each) for each in every]
        message = (
            f"{DICTIONARY_OF:name}: there is no group '{group_text(group)}'; "
            f"there {'is' if len(names) == 1 else 'are'} {counted(len(names), 'group')}: {listed(names, 10)}"
        )
        raise UsageError(message)


def group_text(group: Group) -> str:
    """Return how a group is named, see `parse_group`."""
    return ",".join(f"{column}={'' if value is None else value}" for column, value in group.items())
