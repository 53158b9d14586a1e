"""A short account of the matrices of a folder or pattern: how many, of what formats and layouts, which can be used."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from median_spark.errors import InputError, counted, once_each, shared_sentences
from median_spark.expression import FailureRecord
from median_spark.guard import Kept, read_guarded
from median_spark.matrices import FoundSources, ReadOptions, SourceFile, outline
from median_spark.matrices.formats import format_at
from median_spark.matrices.layouts import open_source
from median_spark.preparation import distinct_problems

MOST_EXAMINED = 50
"""Most matrices that are opened; of a larger corpus, so many of equal distance in the order of names."""


@dataclass(frozen=True)
class _Glance:
    """What is known of a matrix without reading its counts."""

    format_name: str
    layout: str
    cells: int
    cells_passed: int
    genes: int
    warnings: tuple[str, ...]


def describe_corpus(
    location: str, found: FoundSources, options: ReadOptions
) -> tuple[list[tuple[str, str]], InputError | None]:
    """Return field and finding of the matrices that were found, and the problem if some cannot be used.

    Parameters
    ----------
    location : str
        Folder or pattern in which they were found.
    found : FoundSources
        The matrices, at least one.
    options : ReadOptions
        Options that they would be converted with.
    """
    examined = _spread(found, MOST_EXAMINED)
    glances: dict[str, _Glance] = {}
    failures = []
    for source in examined:
        try:
            glances[source.name] = _glance_at(source, options)
        except InputError as error:
            failures.append(FailureRecord(source.name, source.file.path, error.text))
    problem = None
    if failures:
        verdict = f"{len(failures):,} of {counted(len(examined), 'matrix', 'matrices')} cannot be used"
        problem = InputError(f"{location}: {verdict}; inspect one of them to see all options that would help")
    return [*_findings(location, found, examined, glances, failures)], problem


def _findings(
    location: str,
    found: FoundSources,
    examined: Sequence[SourceFile],
    glances: dict[str, _Glance],
    failures: Sequence[FailureRecord],
) -> Iterator[tuple[str, str]]:
    yield "folder of matrices", location
    size = sum(source.file.size for source in found)
    unusable = f"; {len(failures):,} cannot be used" if failures else ""
    some = len(examined) < len(found)
    yield "matrices", f"{len(found):,}, {size:,} bytes{'' if some else unusable}"
    if some:
        yield "inspected", f"{len(examined):,} of these, at equal distances in the order of their names{unusable}"
    for field, values in (
        ("formats", Counter(_format_name(source, glances) for source in examined)),
        ("layouts", Counter(glance.layout for glance in glances.values())),
    ):
        if values:
            yield field, ", ".join(f"{value} ({number:,})" for value, number in sorted(values.items()))
    for number, (name, glance) in enumerate(glances.items()):
        yield (
            "" if number else "sources",
            f"{name}: {glance.cells_passed:,} of {counted(glance.cells, 'cell')} pass, {counted(glance.genes, 'gene')}",
        )
    for problem in distinct_problems(failures):
        yield "cannot be used", problem
    if glances:
        passed, cells = (sum(getattr(one, field) for one in glances.values()) for field in ("cells_passed", "cells"))
        yield "cells passing", f"{passed:,} of {cells:,}"
    for shared in shared_sentences((name, text) for name, one in glances.items() for text in one.warnings):
        yield from (("warning", text) for text in once_each((name, name, shared.text) for name in shared.sources))
    for note in found.notes():
        yield "note", note.removeprefix("note: ")
    if not failures:
        yield "can be used", "yes; their counts were not read, except for a few"


def _format_name(source: SourceFile, glances: dict[str, _Glance]) -> str:
    """Return the format of a matrix; of one that could not be opened, by its name."""
    if source.name in glances:
        return glances[source.name].format_name
    named = format_at(source.file.path)
    return named.name if named is not None else "unknown"


def _glance_at(source: SourceFile, options: ReadOptions) -> _Glance:
    if source.problem is not None:
        raise InputError(source.problem)
    glance: _Glance = read_guarded(source.file.path, _glance, source.file.path, Kept.of(options.of_source(source.name)))
    return glance


def _glance(location: str, options: ReadOptions) -> _Glance:
    with open_source(location, options) as opened:
        outlined = outline(opened.matrix, opened.options, layout=opened.layout)
        return _Glance(
            opened.matrix.format_name,
            outlined.layout.name if outlined.layout is not None else "none that is known",
            outlined.cells,
            outlined.cells_passed,
            len(outlined.genes),
            outlined.warnings,
        )


def _spread(found: FoundSources, most: int) -> list[SourceFile]:
    """Return at most so many sources, at equal distances, the first among them."""
    step = max(1, -(-len(found) // most))
    return list(found[::step])
