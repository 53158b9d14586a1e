"""Finding the matrices that a user means, and naming them."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from median_spark import storage
from median_spark.errors import InputError, UsageError, listed
from median_spark.matrices.patterns import cut_pattern, is_pattern, matches
from median_spark.storage import FileStat

_LONGEST_NAME = 200
"""Characters of a url-encoded name: with what goes before and after it, it must fit the 255 of a file system."""


@dataclass(frozen=True)
class SourceFile:
    """One input file.

    Attributes
    ----------
    name : str
        Its path relative to the input it was found in, without suffix: ``database1/data/study1``.
    file : FileStat
        Where it is, and in what state.
    """

    name: str
    file: FileStat


def find_sources(inputs: Sequence[str], suffixes: Sequence[str]) -> list[SourceFile]:
    """Find all matrices in files and folders, ascending by name.

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
        If two files would have the same name, or one file two names.
    """
    if not inputs:
        message = "no input was given: name a matrix, or a folder of matrices"
        raise UsageError(message)
    found: list[SourceFile] = []
    for given in inputs:
        root = storage.canonical(given)
        what = storage.kind(root)
        if what == "file":
            found.extend(_one_file(root, suffixes))
        elif what == "folder":
            found.extend(_in_folder(root, suffixes))
        elif is_pattern(root):
            found.extend(_matching(root, suffixes))
        else:
            message = f"{root}: there is no such file or folder"
            raise InputError(message)
    for source in found:
        if len(quote(source.name, safe="")) > _LONGEST_NAME:
            message = (
                f"{source.file.path}: its path below the input, '{source.name}', is too long for a folder's name once "
                f"it is url-encoded; {_LONGEST_NAME} characters are allowed: shorten it, or name a folder nearer to it"
            )
            raise UsageError(message)
    by_name: dict[str, str] = {}
    by_path: dict[str, str] = {}
    for source in found:
        other = by_name.setdefault(source.name, source.file.path)
        if other != source.file.path:
            beside = other.rsplit("/", 1)[0] == source.file.path.rsplit("/", 1)[0]
            message = f"{other} and {source.file.path} would both be the source '{source.name}': " + (
                "if they hold the same cells take one of them away, else rename one"
                if beside
                else "give the folder above both as the input, so that their names tell them apart"
            )
            raise UsageError(message)
        name = by_path.setdefault(source.file.path, source.name)
        if name != source.name:
            message = f"{source.file.path} was given twice, as the sources '{name}' and '{source.name}': give it once"
            raise UsageError(message)
    return sorted({source.name: source for source in found}.values(), key=lambda source: source.name)


def _one_file(path: str, suffixes: Sequence[str]) -> list[SourceFile]:
    ending = _ending(path, suffixes)
    file = storage.stat(path)
    if ending is None or file is None:
        message = f"{path}: this is not a matrix that can be read; its name must end in {' or '.join(suffixes)}"
        raise InputError(message)
    return [SourceFile(path.rsplit("/", 1)[1].removesuffix(ending), file)]


def _in_folder(folder: str, suffixes: Sequence[str]) -> list[SourceFile]:
    files = storage.files_below(folder)
    matrices = []
    for file in files:
        ending = _ending(file.path, suffixes)
        # Hidden files are not meant: macOS leaves a ._study1.loom beside study1.loom on shared disks.
        if ending is not None and not file.path.rsplit("/", 1)[1].startswith("."):
            matrices.append(SourceFile(file.path[len(folder.rstrip("/")) + 1 :].removesuffix(ending), file))
    if not matrices:
        held = [file.path[len(folder) + 1 :] for file in files]
        holds = f"it holds {listed(held, 3)}" if held else "it is empty"
        message = f"{folder}: there is no {' or '.join(suffixes)} file in this folder or below it; {holds}"
        raise InputError(message)
    return matrices


def _matching(pattern: str, suffixes: Sequence[str]) -> list[SourceFile]:
    folder, wanted = cut_pattern(pattern)
    if storage.kind(folder) != "folder":
        message = f"{pattern}: there is no folder {folder} in which to look for what matches"
        raise InputError(message)
    below = len(folder.rstrip("/")) + 1
    matrices = _in_folder(folder, suffixes)
    found = [source for source in matrices if matches(source.file.path[below:], wanted)]
    if not found:
        held = [source.file.path[below:] for source in matrices]
        message = f"{pattern}: no {' or '.join(suffixes)} file matches; {folder} holds {listed(held, 3)}"
        raise InputError(message)
    return found


def _ending(path: str, suffixes: Sequence[str]) -> str | None:
    """Return the ending as it stands in the path, whatever its case."""
    for suffix in suffixes:
        if path.lower().endswith(suffix):
            return path[-len(suffix) :]
    return None
