"""Finding the files of digests that a user means. Knows their names, not what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from median_spark import storage
from median_spark.errors import InputError, UsageError, listed
from median_spark.results.layout import DIGESTS, TOTAL_DIGESTS
from median_spark.storage import FileStat

_OF_ONE_SOURCE = ".gene_median_digest_dict.pickle"
_PICKLES = (".pickle", ".pkl")
_ALLOWED = f"name a {DIGESTS}, a result, the folder of a run, pickles named *{_OF_ONE_SOURCE}, or a {TOTAL_DIGESTS}"


class Kind(StrEnum):
    """What a file of digests is made of."""

    RESULT = "digests.parquet"
    ONE_SOURCE = "pickle of one source"
    MANY_SOURCES = "pickle of any number of sources"


@dataclass(frozen=True)
class DigestFile:
    """One file of digests."""

    kind: Kind  # by its name
    name: str  # of a pickle of one source the source's: its path below the input it was found in, without suffix
    file: FileStat


class FoundFiles(NamedTuple):
    """The files of digests of some inputs."""

    files: list[DigestFile]  # ascending by path, each once
    warnings: list[str]  # what was passed over, and what may count twice


def find_digests(inputs: Sequence[str]) -> FoundFiles:
    """Find all files of digests in files, results and folders, as paths or URIs.

    A folder that holds a ``digests.parquet`` is a result, and a folder whose ``medians`` is one stands for it. Others
    are searched at any depth for results and for pickles of one source; a pickle that was merged from these, by its
    name, is taken only where there is nothing else. Hidden files are passed over. Raises InputError if an input is not
    there or holds no digests, UsageError if there is no input.
    """
    if not inputs:
        message = f"no input was given: {_ALLOWED}"
        raise UsageError(message)
    files: dict[str, DigestFile] = {}
    warnings: list[str] = []
    for location in inputs:
        root = storage.canonical(location)
        kind = storage.kind(root)
        if kind == "nothing":
            message = f"{root}: there is no such file or folder"
            raise InputError(message)
        for file in [_one_file(root)] if kind == "file" else _in_folder(root, warnings):
            if file.file.path in files:
                warnings.append(f"{file.file.path} was given more than once; it is merged once")
            else:
                files[file.file.path] = file
    ascending = sorted(files.values(), key=lambda file: file.file.path)
    return FoundFiles(ascending, warnings + _twice(ascending))


def _one_file(path: str) -> DigestFile:
    name = path.rsplit("/", 1)[1]
    file = storage.stat(path)
    if file is None or not name.lower().endswith((".parquet", *_PICKLES)):
        message = f"{path}: this is no file of digests: {_ALLOWED}"
        raise InputError(message)
    return _classified(file, path[: -len(name)])


def _classified(file: FileStat, root: str) -> DigestFile:
    name = file.path[len(root) :].lstrip("/")
    if name.endswith(_OF_ONE_SOURCE):
        return DigestFile(Kind.ONE_SOURCE, name.removesuffix(_OF_ONE_SOURCE), file)
    return DigestFile(Kind.RESULT if name.endswith(".parquet") else Kind.MANY_SOURCES, name, file)


def _in_folder(folder: str, warnings: list[str]) -> list[DigestFile]:
    for result in (storage.join(folder, DIGESTS), storage.join(folder, "medians", DIGESTS)):
        file = storage.stat(result)
        if file is not None:
            return [_classified(file, folder)]
    visible = [file for file in storage.files_below(folder) if "/." not in file.path[len(folder) :]]
    results = [file for file in visible if _base(file) == DIGESTS]
    within = tuple(file.path.removesuffix(DIGESTS) for file in results)
    pickles = [file for file in visible if _base(file).endswith(_PICKLES) and not file.path.startswith(within)]
    files = results + [file for file in pickles if _base(file).endswith(_OF_ONE_SOURCE)]
    totals = [file for file in pickles if _base(file) == TOTAL_DIGESTS]
    if files:
        warnings += [f"{file.path} was passed over: digests of its folder were merged into it" for file in totals]
    else:
        files = totals
    if not files:
        names = [file.path[len(folder) + 1 :] for file in visible]
        holds = f"it holds {listed(names, 3)}" if names else "it is empty"
        message = f"{folder}: there are no digests in this folder or below it; {holds}: {_ALLOWED}"
        raise InputError(message)
    return [_classified(file, folder) for file in files]


def _base(file: FileStat) -> str:
    return file.path.rsplit("/", 1)[1]


def _twice(files: Sequence[DigestFile]) -> list[str]:
    """Reject a pickle beside the digests of the same result; warn of one that may be made of the others."""
    results = {file.file.path.rsplit("/", 1)[0]: file for file in files if file.kind is Kind.RESULT}
    totals = [file for file in files if file.kind is Kind.MANY_SOURCES]
    for total in totals:
        result = results.get(total.file.path.rsplit("/", 1)[0])
        if result is not None:
            message = f"{result.file.path} and {total.file.path} hold the same digests: give one of them"
            raise UsageError(message)
    if len(files) == len(totals):
        return []
    return [
        f"{total.file.path} may be made of other files that are merged here; if it is, their values count twice"
        for total in totals
    ]
