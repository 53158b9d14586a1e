"""Finding the matrices that a user means, each once, and naming them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import overload

from median_spark import storage
from median_spark.errors import InputError, UsageError, listed
from median_spark.matrices.patterns import cut_pattern, is_pattern, local_matches, matches
from median_spark.storage import FileStat, LocalFile, PassedOver

_SHOWN = 3
"""Things passed over that are named; of more, the number is said."""


@dataclass(frozen=True)
class SourceFile:
    """One input file.

    Attributes
    ----------
    name : str
        Its path relative to the input it was found in, without suffix: ``database1/data/study1``.
    file : FileStat
        Where it is, and in what state.
    problem : str or None
        Why it cannot be read, one sentence, where that is known from looking at its folder.
    """

    name: str
    file: FileStat
    problem: str | None = None


@dataclass(frozen=True)
class FoundSources(Sequence[SourceFile]):
    """The sources that were found, ascending by name, and what was passed over.

    Attributes
    ----------
    sources : tuple of SourceFile
        What the sequence holds.
    passed_over : tuple of PassedOver
        Other names of the same files and folders, and loops of links.
    """

    sources: tuple[SourceFile, ...]
    passed_over: tuple[PassedOver, ...] = ()

    @overload
    def __getitem__(self, place: int) -> SourceFile: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[SourceFile]: ...
    def __getitem__(self, place: int | slice) -> SourceFile | Sequence[SourceFile]:
        return self.sources[place]

    def __len__(self) -> int:
        return len(self.sources)

    def notes(self) -> list[str]:
        """Return what a user should know of what was passed over, one sentence each, a few at most."""
        notes = [f"note: {found.path} was passed over: {found.why}" for found in self.passed_over[:_SHOWN]]
        more = len(self.passed_over) - _SHOWN
        return [*notes, f"note: {more:,} more files and folders were passed over likewise"] if more > 0 else notes


@dataclass(frozen=True)
class _Candidate:
    """A file that may become a source; `local` is what the disk says of it, `given` that a user named just this."""

    source: SourceFile
    local: LocalFile | None
    given: bool = False


def find_sources(inputs: Sequence[str], suffixes: Sequence[str]) -> FoundSources:
    """Find all matrices in files and folders, ascending by name.

    A local file is found once, whatever links lead to it: under its own path rather than that of a link, else under
    the smallest name. What cannot be read as a file, such as a named pipe, is a source with a problem.

    Parameters
    ----------
    inputs : sequence of str
        Paths or URIs of files, or of folders that are searched at any depth; hidden files in them are passed over. Or
        patterns of these, such as ``/data/*/study?.loom``: what matches is named by its path below ``/data``.
    suffixes : sequence of str
        Endings of files that can be read, such as ``.loom``.

    Raises
    ------
    InputError
        If an input is not there, cannot be read by its ending, or holds or matches no matrix.
    UsageError
        If two files would have the same name, or one file was given under two names.
    """
    if not inputs:
        message = "no input was given: name a matrix, or a folder of matrices"
        raise UsageError(message)
    found: list[_Candidate] = []
    passed_over: list[PassedOver] = []
    for given in inputs:
        root = storage.canonical(given)
        what = storage.kind(root)
        if what == "file":
            found.append(_one_file(root, suffixes))
        elif what == "folder":
            found.extend(_in_folder(root, suffixes, passed_over))
        elif is_pattern(root):
            found.extend(_matching(root, suffixes, passed_over))
        else:
            odd = storage.look_at(root).problem if storage.is_local(root) else None
            message = f"{root}: {odd or 'there is no such file or folder'}"
            raise InputError(message)
    _refuse_two_names(found)
    sources = [candidate.source for candidate in _each_once(found, passed_over)]
    _check_names(sources)
    sources.sort(key=lambda source: (source.name, source.file.path))
    return FoundSources(tuple(sources), tuple(sorted(set(passed_over), key=lambda one: one.path)))


def _refuse_two_names(found: Iterable[_Candidate]) -> None:
    by_path: dict[str, str] = {}
    for candidate in found:
        path, name = candidate.source.file.path, candidate.source.name
        other = by_path.setdefault(path, name)
        if other != name:
            message = f"{path} was given twice, as the sources '{other}' and '{name}': give it once"
            raise UsageError(message)


def _each_once(found: Iterable[_Candidate], passed_over: list[PassedOver]) -> list[_Candidate]:
    """Return one candidate for each local file; the others are passed over, or refused if a user named them."""
    kept: dict[object, _Candidate] = {}
    order = sorted(
        found, key=lambda one: (one.local is not None and one.local.linked, one.source.name, one.source.file.path)
    )
    for candidate in order:
        key = candidate.local.identity if candidate.local else candidate.source.file.path
        first = kept.setdefault(key, candidate)
        path, other = candidate.source.file.path, first.source.file.path
        if path == other:
            continue
        if candidate.given:
            message = f"{path} and {other} are one file, given twice: give it once"
            raise UsageError(message)
        passed_over.append(PassedOver(path, f"it is the same file as {other}"))
    return list(kept.values())


def _check_names(sources: Sequence[SourceFile]) -> None:
    by_name: dict[str, str] = {}
    for source in sources:
        if source.problem is not None:
            continue
        other = by_name.setdefault(source.name, source.file.path)
        if other != source.file.path:
            first, second = sorted([other, source.file.path])
            beside = first.rsplit("/", 1)[0] == second.rsplit("/", 1)[0]
            message = f"{first} and {second} would both be the source '{source.name}': " + (
                "if they hold the same cells take one of them away, else rename one"
                if beside
                else "give the folder above both as the input, so that their names tell them apart"
            )
            raise UsageError(message)


def _one_file(path: str, suffixes: Sequence[str]) -> _Candidate:
    ending = _ending(path, suffixes)
    file = storage.stat(path)
    if ending is None or file is None:
        message = f"{path}: this is not a matrix that can be read; its name must end in {' or '.join(suffixes)}"
        raise InputError(message)
    local = None
    if storage.is_local(path):
        local = storage.look_at(path, linked=storage.is_link(path))
    return _Candidate(_source(path.rsplit("/", 1)[1].removesuffix(ending), file), local, given=True)


def _in_folder(
    folder: str, suffixes: Sequence[str], passed_over: list[PassedOver], above: str | None = None
) -> list[_Candidate]:
    """Return the matrices below a folder, named by their paths below `above`, or below the folder itself."""
    files, problems = _list(folder, passed_over)
    below = len((above or folder).rstrip("/")) + 1
    matrices = []
    for file, local in files:
        ending = _ending(file.path, suffixes)
        # Hidden files are not meant: macOS leaves a ._study1.loom beside study1.loom on shared disks.
        if ending is not None and not file.path.rsplit("/", 1)[1].startswith("."):
            matrices.append(_Candidate(_source(file.path[below:].removesuffix(ending), file, local), local))
    matrices += [
        _Candidate(_unreadable(one.path[below:], one.path, f"this folder cannot be listed ({one.why})"), None)
        for one in problems
    ]
    if not matrices and above is None:
        held = [file.path[len(folder) + 1 :] for file, _ in files]
        holds = f"it holds {listed(held, 3)}" if held else "it is empty"
        message = f"{folder}: there is no {' or '.join(suffixes)} file in this folder or below it; {holds}"
        raise InputError(message)
    return matrices


def _list(
    folder: str, passed_over: list[PassedOver]
) -> tuple[list[tuple[FileStat, LocalFile | None]], list[PassedOver]]:
    """Return the files below a folder, and what of a local one could not be listed."""
    if not storage.is_local(folder):
        return [(file, None) for file in storage.files_below(folder)], []
    listing = storage.list_local(folder)
    unreadable = [replace(one, path=storage.shown(one.path)) for one in listing.unreadable]
    if unreadable and unreadable[0].path == folder:
        message = f"{folder}: this folder cannot be listed ({unreadable[0].why})"
        raise InputError(message)
    passed_over += [PassedOver(storage.shown(one.path), storage.shown(one.why)) for one in listing.passed_over]
    return [(FileStat(storage.shown(file.path), file.size, file.mtime_ns), file) for file in listing.files], unreadable


def _source(name: str, file: FileStat, local: LocalFile | None = None) -> SourceFile:
    if local is not None and not storage.is_text(local.path):
        return _unreadable(name, file.path, "its name, or that of a folder above it, is not valid UTF-8: rename it")
    if local is not None and local.problem is not None:
        return _unreadable(name, file.path, local.problem)
    return SourceFile(storage.fitted_name(name), file)


def _unreadable(name: str, path: str, why: str) -> SourceFile:
    return SourceFile(storage.fitted_name(name), FileStat(path, 0, 0), f"{path}: {why}")


def _matching(pattern: str, suffixes: Sequence[str], passed_over: list[PassedOver]) -> list[_Candidate]:
    folder, wanted = cut_pattern(pattern)
    if storage.kind(folder) != "folder":
        message = f"{pattern}: there is no folder {folder} in which to look for what matches"
        raise InputError(message)
    below = len(folder.rstrip("/")) + 1
    if storage.is_local(folder):
        found = _matching_locally(folder, wanted, suffixes, passed_over)
    else:
        found = [
            one for one in _in_folder(folder, suffixes, passed_over) if matches(one.source.file.path[below:], wanted)
        ]
    if not found:
        held = [one.source.file.path[below:] for one in _in_folder(folder, suffixes, [])]
        message = f"{pattern}: no {' or '.join(suffixes)} file matches; {folder} holds {listed(held, 3)}"
        raise InputError(message)
    return found


def _matching_locally(
    folder: str, wanted: Sequence[str], suffixes: Sequence[str], passed_over: list[PassedOver]
) -> list[_Candidate]:
    """Return the matrices that match, and those below the folders that do: each of these is searched by itself."""
    found: list[_Candidate] = []
    real, below = os.path.realpath(folder).rstrip("/"), len(folder.rstrip("/")) + 1
    for path, is_folder in local_matches(folder, wanted):
        linked = os.path.realpath(path) != f"{real}/{path[below:]}"
        if is_folder:
            for one in _in_folder(path, suffixes, passed_over, above=folder):
                local = one.local and replace(one.local, linked=linked or one.local.linked)
                found.append(replace(one, local=local))
        elif (ending := _ending(path, suffixes)) is not None and not path.rsplit("/", 1)[1].startswith("."):
            local = storage.look_at(path, linked=linked)
            file = FileStat(storage.shown(path), local.size, local.mtime_ns)
            found.append(_Candidate(_source(file.path[below:].removesuffix(ending), file, local), local))
    return found


def _ending(path: str, suffixes: Sequence[str]) -> str | None:
    """Return the ending as it stands in the path, whatever its case."""
    for suffix in suffixes:
        if path.lower().endswith(suffix):
            return path[-len(suffix) :]
    return None
