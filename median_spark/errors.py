"""What can go wrong, one class per thing a user can act on.

Every message is one sentence that names the file, the field, what was found and what is allowed. Where it advises an
option, it has a neutral mention of `median_spark.options`; `str` of an error names the arguments of Python functions.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from median_spark.display import printable
from median_spark.options import Style, worded

_LONGEST_LINE = 2000
_LONGEST_NAME = 100
_NUMBER = re.compile(r"\d[\d,]*(\.\d+)?")


class MedianSparkError(Exception):
    """Anything that median_spark rejects; the message is meant for the person who runs it.

    Parameters
    ----------
    *lines : str
        Lines of the message, usually one. A line break or control character within one comes from a file, and is
        shown as an escape.
    kind : str
        Kind of error, in a few words that stay the same while file, options and figures change; empty where nobody
        asks.

    Examples
    --------
    >>> str(InputError("a.loom: column attribute 'n' is missing"))
    "a.loom: column attribute 'n' is missing"
    """

    def __init__(self, *lines: str, kind: str = "") -> None:
        super().__init__(*lines)
        self.kind = kind

    def __str__(self) -> str:
        """Return the message for callers of Python functions, safe to send to a terminal."""
        return self.worded(Style.ARGUMENTS)

    @property
    def text(self) -> str:
        """The message with neutral mentions of options, for an error or a record that will hold it."""
        return "\n".join(printable(str(line)) for line in self.args)

    def worded(self, style: Style) -> str:
        """Return the message with options named in the words of a style; very long lines are shortened."""
        return "\n".join(shortened(worded(str(line), style), _LONGEST_LINE) for line in self.args)

    def without(self, location: str) -> str:
        """Return the neutral text without the location that it begins with."""
        return self.text.removeprefix(f"{printable(location)}: ")


class UsageError(MedianSparkError):
    """An option or argument that cannot be used as given."""


class InputError(MedianSparkError):
    """A matrix, or a folder of matrices, that cannot be read or does not hold what it must."""


class GeneTableError(MedianSparkError):
    """A gene table that cannot be read, or that names no gene of the chosen types."""


class GeneMapError(MedianSparkError):
    """A gene map that cannot be read, or that leads one name to two ids."""


class OutputError(MedianSparkError):
    """A target that cannot be written, or that holds something else."""


class BusyError(MedianSparkError):
    """A folder that another run is writing to at this moment."""


class TableError(MedianSparkError):
    """An expression table or a result that is damaged, foreign, or of another format version."""


class StorageError(MedianSparkError):
    """Storage that does not answer, or does not let this user: what it holds may be sound."""


class FrameError(MedianSparkError):
    """A Spark DataFrame whose columns or rows are not what medians are made of, or that is another at each reading."""


class DigestError(MedianSparkError):
    """Digests that cannot be built or merged: a compression, a centroid count or a weight out of bounds."""


class EngineError(MedianSparkError):
    """Spark cannot be started, or a Spark job failed for a reason that is not the data's."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``"1 gene"`` or ``"12,345 genes"``; the plural is the noun and an s, unless it is given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: list[str], most: int = 5) -> str:
    """Return the first few names, quoted and shortened if they are long, and how many more there are."""
    shown = ", ".join(repr(shortened(name, _LONGEST_NAME)) for name in names[:most])
    more = len(names) - most
    return f"{shown} and {more:,} more" if more > 0 else shown


@dataclass(frozen=True)
class SharedSentence:
    """What is said of several sources in words that are the same but for numbers.

    `text` is that of the first source, `details` are all pairs of a source and its sentence.
    """

    text: str
    details: tuple[tuple[str, str], ...]

    @property
    def sources(self) -> list[str]:
        """Names of the sources, each once."""
        return list(dict.fromkeys(source for source, _ in self.details))


def shared_sentences(said: Iterable[tuple[str, str]]) -> list[SharedSentence]:
    """Return sentences about sources, pairs of a name and a sentence; those that differ in numbers only become one."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for source, sentence in said:
        alike.setdefault(_NUMBER.sub("#", sentence), []).append((source, sentence))
    shared = []
    for same in alike.values():
        first, text = same[0]
        one_source = all(source == first for source, _ in same)
        if one_source:
            shared += [SharedSentence(sentence, ((source, sentence),)) for source, sentence in same]
            continue
        numbers = f" (numbers of {listed([first])})" if any(sentence != text for _, sentence in same) else ""
        shared.append(SharedSentence(f"{text}{numbers}", tuple(same)))
    return shared


def once_each(said: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return sentences about sources, each once; one that several share has their number and first names.

    `said` are triples: the name of a source, what it is called if a sentence is about it alone, and the sentence.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, alone, sentence in said:
        alike.setdefault(sentence, []).append((name, alone))
    return [
        f"{same[0][1]}: {sentence}"
        if len(same) == 1
        else f"{counted(len(same), 'source')} ({listed([name for name, _ in same], 3)}): {sentence}"
        for sentence, same in alike.items()
    ]


def gist(sentence: str) -> str:
    """Return what sentences with other figures and details share: what comes before the first colon, without numbers.

    Examples
    --------
    >>> gist("the query chooses none of its 300 cells: 'age' holds 1 to 9")
    'the query chooses none of its # cells'
    """
    return _NUMBER.sub("#", sentence.partition(": ")[0])


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, its middle left out if it has more."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[most // 2 - most :]}"
