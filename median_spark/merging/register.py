"""Who brings which source: so that none counts twice, and nothing is pooled that cannot be. Reads no files."""

from collections.abc import Iterator, Mapping
from typing import Any

from median_spark.errors import UsageError, counted, listed
from median_spark.merging.find import DigestFile, Kind
from median_spark.results import Provenance, RecordedSource

_DECIDES_VALUES = {"target_sum": "are scaled differently", "gene_map": "count under different ids"}
_DECIDES_GENES = ("gene_types", "gene_table")
"""Parameters of a conversion."""


class SourceRegister:
    """The sources of all files that are merged, and what is to be said about them."""

    def __init__(self) -> None:
        self._holders: dict[tuple[object, ...], tuple[DigestFile, str]] = {}
        self._by_last_name: dict[str, list[tuple[DigestFile, str]]] = {}
        self._namesakes: dict[str, list[str]] = {}
        self._settings: dict[str, tuple[Any, DigestFile]] = {}
        self._differing: set[str] = set()
        self._warnings: list[str] = []

    def enter_result(self, file: DigestFile, provenance: Provenance) -> None:
        """Enter the sources of a result.

        Raises UsageError if another file brings one of them too, or if its values were made in another way.
        """
        for source in provenance.sources:
            for key in _keys(source):
                self._enter(key, file, source.source)
            self._by_last_name.setdefault(_last(source.source), []).append((file, source.source))
            if source.parameters:
                self._compare(file, source.parameters)
        for merged in provenance.merge.merged if provenance.merge else ():
            if merged.kind == Kind.MANY_SOURCES:
                self._enter(("content", merged.sha256), file, merged.path)

    def enter_pickle(self, file: DigestFile, sha256: str) -> None:
        """Enter a pickle, after all results; raises UsageError if a result that is merged too was made of it."""
        self._enter(("content", sha256), file, file.name)
        if file.kind is Kind.ONE_SOURCE:
            candidates = self._by_last_name.get(_last(file.name), [])
            for result in {holder.file.path for holder, name in candidates if _may_be_one(name, file.name)}:
                self._namesakes.setdefault(result, []).append(file.name)

    def target_sum(self) -> float | None:
        """Return the target sum that results record, if one does."""
        value, _ = self._settings.get("target_sum", (None, None))
        return value

    def gene_types(self) -> tuple[str, ...]:
        """Return the gene types that all results record; none where they differ or are not recorded."""
        value, _ = self._settings.get("gene_types", ((), None))
        return () if "gene_types" in self._differing else tuple(value or ())

    def warnings(self) -> list[str]:
        """Return what a person should look at."""
        return self._warnings + [
            f"{result} has sources of the same name as {counted(len(names), 'pickle')}: {listed(names, 3)}; if these "
            "are the same sources, their values count twice"
            for result, names in sorted(self._namesakes.items())
        ]

    def _enter(self, key: tuple[object, ...], file: DigestFile, source: str) -> None:
        holder, named = self._holders.setdefault(key, (file, source))
        if holder is file:
            return
        if Kind.RESULT not in (holder.kind, file.kind):
            self._warnings.append(
                f"{holder.file.path} and {file.file.path} have the same content: its values count twice"
            )
            return
        also = f" ('{source}')" if source != named else ""
        message = (
            f"{holder.file.path} and {file.file.path} both hold the source '{named}'{also}: its values would count "
            "twice; give only one of them"
        )
        raise UsageError(message)

    def _compare(self, file: DigestFile, parameters: Mapping[str, Any]) -> None:
        for name in (*_DECIDES_VALUES, *_DECIDES_GENES):
            value = parameters.get(name)
            first, holder = self._settings.setdefault(name, (value, file))
            if first == value or holder is file:
                continue
            what = f"{holder.file.path} was made with {name} {first} and {file.file.path} with {value}"
            if name in _DECIDES_VALUES:
                message = f"{what}: values that {_DECIDES_VALUES[name]} cannot be merged"
                raise UsageError(message)
            self._differing.add(name)
            warning = f"{what}: some genes may be missing from one of them"
            if warning not in self._warnings:
                self._warnings.append(warning)


def _last(name: str) -> str:
    """Return the last part of a source's name: a pickle may lie in another folder than its matrix did."""
    return name.rsplit("/", 1)[-1]


def _may_be_one(name: str, other: str) -> bool:
    """Say whether one name is the other, or the end of it, as of a source that was named from another folder."""
    return f"/{name}".endswith(f"/{other}") or f"/{other}".endswith(f"/{name}")


def _keys(source: RecordedSource) -> Iterator[tuple[object, ...]]:
    """Yield what shows that two records are of one source, whatever the folder that it lay in."""
    name = _last(source.source)
    if source.sha256:
        yield "content", source.sha256
        return
    if source.input:
        yield "path", source.input.path
    if source.conversion:
        yield "conversion", source.conversion, name
    if source.values is not None and source.cells is not None:
        size = source.input.size if source.input else None
        yield "figures", name, size, source.cells, source.cells_passed, source.values
