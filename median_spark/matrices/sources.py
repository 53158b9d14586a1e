"""Finding the matrices that inputs name, also by patterns such as ``s3://bucket/*/study?.loom``, each once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import overload

from median_spark import storage
from median_spark.errors import InputError, UsageError, listed
from median_spark.matrices.formats import (
    FORMATS,
    Format,
    either,
    format_of_file,
    format_of_folder,
    matrix_stat,
    zipped_store,
)
from median_spark.matrices.tenx.outputs import superfluous
from median_spark.storage import FileStat, LocalFile, PassedOver

_SHOWN = 3
"""Most files passed over to name; of more, the number is said."""

_SIGNS = "*?["
"""Signs of a pattern; none of them stands for a slash."""


@dataclass(frozen=True)
class SourceFile:
    """One input matrix.

    `name` is its path relative to the input it was found in, without ending, ``database1/data/study1``; `file` is its
    path, and the size and last change of all its files; `problem` says in a sentence why it cannot be read, where that
    is known from looking at its folder.
    """

    name: str
    file: FileStat
    problem: str | None = None


@dataclass(frozen=True)
class FoundSources(Sequence[SourceFile]):
    """The sources that were found, ascending by name, as a sequence.

    `passed_over` holds other names of the same files and folders, and loops of links.
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
        """Return notes for users on what was passed over, one sentence each, a few at most."""
        notes = [f"note: {one.path} was passed over: {one.why}" for one in self.passed_over[:_SHOWN]]
        more = len(self.passed_over) - _SHOWN
        return [*notes, f"note: {more:,} more files and folders were passed over likewise"] if more > 0 else notes


@dataclass(frozen=True)
class _Candidate:
    """A file that may become a source; `local` is its state on disk, `named` says that a user named just this file."""

    source: SourceFile
    local: LocalFile | None
    named: bool = False


_Listed = tuple[FileStat, LocalFile | None]


def find_sources(inputs: Sequence[str], formats: Sequence[Format] = FORMATS) -> FoundSources:
    """Find all matrices in files and folders, ascending by name.

    Inputs are paths or URIs of matrices, or of folders that are searched at any depth; hidden files in them are passed
    over, and a folder that is a matrix itself is not searched. Or they are patterns of these, such as
    ``/data/*/study?.loom``: what matches is named by its path below ``/data``.

    A local file is found once, whatever links lead to it: under its own path rather than that of a link, else under the
    smallest name. What cannot be read as a file, such as a named pipe, is a source with a problem.

    InputError if an input is not there, cannot be read by its ending, or holds or matches no matrix; UsageError if two
    files would have the same name, or one file was given under two names.

    Examples
    --------
    >>> import median_spark
    >>> [source.name for source in median_spark.find_sources(["corpus"])][:2]
    ['database1/data/study1', 'database1/data/study2']
    """
    if not inputs:
        message = "no input was given: name a matrix, or a folder of matrices"
        raise UsageError(message)
    search = _Search(tuple(formats))
    candidates = [candidate for location in inputs for candidate in search.find(storage.canonical(location))]
    _refuse_two_names(candidates)
    sources = [candidate.source for candidate in _each_once(candidates, search.passed_over)]
    _check_names(sources)
    sources.sort(key=lambda source: (source.name, source.file.path))
    return FoundSources(tuple(sources), tuple(sorted(set(search.passed_over), key=lambda one: one.path)))


def _refuse_two_names(candidates: Iterable[_Candidate]) -> None:
    by_path: dict[str, str] = {}
    for candidate in candidates:
        path, name = candidate.source.file.path, candidate.source.name
        other = by_path.setdefault(path, name)
        if other != name:
            message = f"{path} was given twice, as the sources '{other}' and '{name}': give it once"
            raise UsageError(message)


def _each_once(candidates: Iterable[_Candidate], passed_over: list[PassedOver]) -> list[_Candidate]:
    """Return one candidate for each local file; the others are passed over, or rejected if a user named them."""
    kept: dict[object, _Candidate] = {}
    order = sorted(
        candidates, key=lambda one: (one.local is not None and one.local.linked, one.source.name, one.source.file.path)
    )
    for candidate in order:
        key = candidate.local.identity if candidate.local else candidate.source.file.path
        first = kept.setdefault(key, candidate)
        path, other = candidate.source.file.path, first.source.file.path
        if path == other:
            continue
        if candidate.named:
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


@dataclass(frozen=True)
class _Search:
    """A search for matrices of some formats; files and folders that are passed over gather in it."""

    formats: tuple[Format, ...]
    passed_over: list[PassedOver] = field(default_factory=list)

    def find(self, root: str) -> list[_Candidate]:
        """Return the matrices of one input, a canonical path or URI."""
        kind = storage.kind(root)
        if kind == "file":
            return [self._one_file(root)]
        if kind == "folder":
            return self._without_repetitions(self._in_folder(root))
        if any(sign in root for sign in _SIGNS):
            return self._without_repetitions(self._matching(root))
        odd = storage.look_at(root).problem if storage.is_local(root) else None
        message = f"{root}: {odd or 'there is no such file or folder'}"
        raise InputError(message)

    def _without_repetitions(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Pass over what Cell Ranger writes beside the matrix of cells: the same cells would count several times."""
        repeated = superfluous([one.source.file.path for one in candidates])
        self.passed_over.extend(PassedOver(path, why) for path, why in repeated.items())
        return [one for one in candidates if one.source.file.path not in repeated]

    @property
    def _endings(self) -> str:
        return either([ending for one in self.formats for ending in one.endings])

    def _one_file(self, path: str) -> _Candidate:
        found, file = format_of_file(path, self.formats), matrix_stat(path, self.formats)
        if found is None or file is None:
            why = zipped_store(path) or f"this is not a matrix that can be read; its name must end in {self._endings}"
            message = f"{path}: {why}"
            raise InputError(message)
        local = storage.look_at(path, linked=storage.is_link(path)) if storage.is_local(path) else None
        return _Candidate(_source(found.named(path, len(path.rpartition("/")[0]) + 1), file, local), local, named=True)

    def _in_folder(self, folder: str, above: str | None = None) -> list[_Candidate]:
        """Return the matrices below a folder, named by their paths below `above`, or below the folder itself."""
        files, problems = self._list(folder)
        below = len((above or folder).rstrip("/")) + 1
        matrices = [
            _Candidate(_source(found.named(file.path, below), file, local), local)
            for found, file, local in self._matrices_of(folder, files)
        ]
        matrices += [
            _Candidate(_unreadable(one.path[below:], one.path, f"this folder cannot be listed ({one.why})"), None)
            for one in problems
        ]
        if not matrices and above is None:
            held = [file.path[len(folder) + 1 :] for file, _ in files]
            holds = f"it holds {listed(held, 3)}" if held else "it is empty"
            message = f"{folder}: there is no {self._endings} file in this folder or below it; {holds}"
            raise InputError(message)
        return matrices

    def _matrices_of(self, folder: str, files: Sequence[_Listed]) -> list[tuple[Format, FileStat, LocalFile | None]]:
        """Return format and joint state of the matrices that some files below a folder make."""
        folders, rest = self._folders_of(folder, files)
        matrices: list[tuple[Format, FileStat, LocalFile | None]] = []
        for path, held in folders.items():
            names = {file.path[len(path) :].lstrip("/").partition("/")[0] for file, _ in held}
            found = format_of_folder(names, self.formats)
            local = held[0][1] and replace(held[0][1], path=path)
            if found is not None:
                matrices.append((found, storage.joint_stat(path, [file for file, _ in held]), local))
        by_path = {file.path: file for file, _ in rest}
        names_in: dict[str, list[str]] = {}
        for path in by_path:
            above, _, name = path.rpartition("/")
            names_in.setdefault(above, []).append(name)
        only_named: list[tuple[Format, FileStat, LocalFile | None]] = []
        for file, local in rest:
            found = format_of_file(file.path, self.formats)
            # Hidden files are not meant: macOS leaves a ._study1.loom beside study1.loom on shared disks.
            if found is None or _is_hidden(file.path) or found.ignored(file.path):
                why = None if found is not None or _is_hidden(file.path) else zipped_store(file.path)
                self.passed_over.extend([PassedOver(file.path, why)] if why else [])
                continue
            above, _, name = file.path.rpartition("/")
            beside = [by_path[f"{above}/{other}"] for other in found.companions(name, names_in[above])]
            (only_named if found.only_named else matrices).append(
                (found, storage.joint_stat(file.path, [file, *beside]), local)
            )
        return matrices or only_named

    def _folders_of(self, folder: str, files: Sequence[_Listed]) -> tuple[dict[str, list[_Listed]], list[_Listed]]:
        """Part the files of folders that are matrices themselves, the topmost ones, from the others."""
        marks = {mark for one in self.formats for mark in one.marks}
        root, folders, rest = folder.rstrip("/"), dict[str, list[_Listed]](), list[_Listed]()
        for file, _ in files if marks else ():
            parts = file.path[len(root) + 1 :].split("/")
            place = next((place for place, part in enumerate(parts) if part in marks), None)
            if place is not None:
                folders["/".join([root, *parts[:place]])] = []
        for one in files:
            parts = one[0].path[len(root) + 1 :].split("/") if folders else []
            above = ("/".join([root, *parts[:place]]) for place in range(len(parts)))
            next((folders[path] for path in above if path in folders), rest).append(one)
        return {path: held for path, held in folders.items() if held}, rest

    def _list(self, folder: str) -> tuple[list[_Listed], list[PassedOver]]:
        """Return the files below a folder, and what of a local one could not be listed."""
        if not storage.is_local(folder):
            return [(file, None) for file in storage.files_below(folder)], []
        listing = storage.list_local(folder)
        unreadable = [replace(one, path=storage.shown(one.path)) for one in listing.unreadable]
        if unreadable and unreadable[0].path == folder:
            message = f"{folder}: this folder cannot be listed ({unreadable[0].why})"
            raise InputError(message)
        self.passed_over.extend(
            PassedOver(storage.shown(one.path), storage.shown(one.why)) for one in listing.passed_over
        )
        return [
            (FileStat(storage.shown(file.path), file.size, file.mtime_ns), file) for file in listing.files
        ], unreadable

    def _matching(self, pattern: str) -> list[_Candidate]:
        """Return the matrices that match a pattern, named by their paths below its last folder without a sign."""
        parts = pattern.split("/")
        fixed = next(number for number, part in enumerate(parts) if any(sign in part for sign in _SIGNS))
        folder, wanted = "/".join(parts[:fixed]) or "/", tuple(parts[fixed:])
        if storage.kind(folder) != "folder":
            message = f"{pattern}: there is no folder {folder} in which to look for what matches"
            raise InputError(message)
        below = len(folder.rstrip("/")) + 1
        if storage.is_local(folder):
            candidates = self._matching_locally(folder, wanted)
        else:
            candidates = [
                one for one in self._in_folder(folder, folder) if _matches(one.source.file.path[below:], wanted)
            ]
        if not candidates:
            held = [one.source.file.path[below:] for one in _Search(self.formats)._in_folder(folder, folder)]
            message = f"{pattern}: no {self._endings} file matches; {folder} holds {listed(held, 3) or 'none'}"
            raise InputError(message)
        return candidates

    def _matching_locally(self, folder: str, wanted: Sequence[str]) -> list[_Candidate]:
        """Return the matrices that match, and those below the folders that do: each of these is searched by itself."""
        candidates: list[_Candidate] = []
        real, below = os.path.realpath(folder).rstrip("/"), len(folder.rstrip("/")) + 1
        for path, is_folder in _local_matches(folder, wanted):
            linked = os.path.realpath(path) != f"{real}/{path[below:]}"
            if is_folder:
                for one in self._in_folder(path, above=folder):
                    local = one.local and replace(one.local, linked=linked or one.local.linked)
                    candidates.append(replace(one, local=local))
            elif (found := format_of_file(path, self.formats)) is not None and not _is_hidden(path):
                local = storage.look_at(path, linked=linked)
                file = FileStat(storage.shown(path), local.size, local.mtime_ns)
                whole = matrix_stat(file.path, self.formats) if found.has_companions else None
                source = _source(found.named(file.path, below), whole or file, local)
                candidates.append(_Candidate(source, local))
        return candidates


def _matches(name: str, wanted: Sequence[str]) -> bool:
    """Say whether a file, or a folder above it, matches; `name` is its path below the folder of the pattern."""
    parts = name.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted))


def _local_matches(folder: str, wanted: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield the paths of a local folder that match, ascending, and for each whether it is a folder.

    Links to folders are followed, but no deeper than the pattern has parts. Folders that cannot be listed are left out.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names of any bytes, as text)
    except OSError:
        return
    for name in names:
        if fnmatchcase(name, wanted[0]):
            path = f"{folder.rstrip('/')}/{name}"
            is_folder = os.path.isdir(path)  # noqa: PTH112
            if len(wanted) == 1:
                yield path, is_folder
            elif is_folder:
                yield from _local_matches(path, wanted[1:])


def _is_hidden(path: str) -> bool:
    return path.rsplit("/", 1)[1].startswith(".")


def _source(name: str, file: FileStat, local: LocalFile | None = None) -> SourceFile:
    if local is not None and not storage.is_text(local.path):
        return _unreadable(name, file.path, "its name, or that of a folder above it, is not valid UTF-8: rename it")
    if local is not None and local.problem is not None:
        return _unreadable(name, file.path, local.problem)
    return SourceFile(storage.fitted_name(name), file)


def _unreadable(name: str, path: str, why: str) -> SourceFile:
    return SourceFile(storage.fitted_name(name), FileStat(path, 0, 0), f"{path}: {why}")
