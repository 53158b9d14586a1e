"""Finding the files of digests that a user means. Knows their names, not what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from median_spark import storage
from median_spark.errors import InputError, UsageError, listed
from median_spark.storage import FileStat

_DIGESTS = "digests.parquet"
_TOTAL = "total_gene_tdigest_dict.pickle"
_OF_ONE_SOURCE = ".gene_median_digest_dict.pickle"
_PICKLES = (".pickle", ".pkl")
_ALLOWED = f"name a {_DIGESTS}, a result, the folder of a run, pickles named *{_OF_ONE_SOURCE}, or a {_TOTAL}"


class Kind(StrEnum):
    """What a file of digests is made of."""

    RESULT = "digests.parquet"
    ONE_SOURCE = "pickle of one source"
    MANY_SOURCES = "pickle of any number of sources"


@dataclass(frozen=True)
class DigestFile:
    """One file of digests.

    Attributes
    ----------
    kind : Kind
        What it is made of, by its name.
    name : str
        Of a pickle of one source the source's: its path below the input it was found in, without suffix.
    file : FileStat
        Where it is, and in what state.
    """

    kind: Kind
    name: str
    file: FileStat


@dataclass(frozen=True)
class Found:
    """What inputs hold.

    Attributes
    ----------
    files : list of DigestFile
        Ascending by path, each once.
    warnings : list of str
        What was passed over, and what may count twice.
    """

    files: list[DigestFile]
    warnings: list[str]


def find_digests(inputs: Sequence[str]) -> Found:
    """Find all files of digests in files, results and folders.

    A folder that holds a ``digests.parquet`` is a result, and a folder whose ``medians`` is one stands for it. Others
    are searched at any depth for results and for pickles of one source; a pickle that was merged from these, by its
    name, is taken only where there is nothing else. Hidden files are passed over.

    Parameters
    ----------
    inputs : sequence of str
        Paths or URIs.

    Raises
    ------
    InputError
        If an input is not there, or holds no digests.
    UsageError
        If there is no input.
    """
    if not inputs:
        message = f"no input was given: {_ALLOWED}"
        raise UsageError(message)
    files: dict[str, DigestFile] = {}
    warnings: list[str] = []
    for given in inputs:
        root = storage.canonical(given)
        what = storage.kind(root)
        if what == "nothing":
            message = f"{root}: there is no such file or folder"
            raise InputError(message)
        here = [_one_file(root)] if what == "file" else _in_folder(root, warnings)
        again = [found.file.path for found in here if found.file.path in files]
        warnings += [f"{path} was given more than once; it is merged once" for path in again]
        files.update({found.file.path: found for found in here if found.file.path not in files})
    ascending = sorted(files.values(), key=lambda found: found.file.path)
    return Found(ascending, warnings + _twice(ascending))


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
    for result in (storage.join(folder, _DIGESTS), storage.join(folder, "medians", _DIGESTS)):
        file = storage.stat(result)
        if file is not None:
            return [_classified(file, folder)]
    held = [file for file in storage.files_below(folder) if "/." not in file.path[len(folder) :]]
    results = [file for file in held if _base(file) == _DIGESTS]
    within = tuple(file.path.removesuffix(_DIGESTS) for file in results)
    pickles = [file for file in held if _base(file).endswith(_PICKLES) and not file.path.startswith(within)]
    found = results + [file for file in pickles if _base(file).endswith(_OF_ONE_SOURCE)]
    totals = [file for file in pickles if _base(file) == _TOTAL]
    if found:
        warnings += [f"{file.path} was passed over: digests of its folder were merged into it" for file in totals]
    else:
        found = totals
    if not found:
        names = [file.path[len(folder) + 1 :] for file in held]
        holds = f"it holds {listed(names, 3)}" if names else "it is empty"
        message = f"{folder}: there are no digests in this folder or below it; {holds}: {_ALLOWED}"
        raise InputError(message)
    return [_classified(file, folder) for file in found]


def _base(file: FileStat) -> str:
    return file.path.rsplit("/", 1)[1]


def _twice(files: Sequence[DigestFile]) -> list[str]:
    """Refuse a pickle beside the digests of the same result; warn of one that may be made of the others."""
    results = {found.file.path.rsplit("/", 1)[0]: found for found in files if found.kind is Kind.RESULT}
    totals = [found for found in files if found.kind is Kind.MANY_SOURCES]
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
