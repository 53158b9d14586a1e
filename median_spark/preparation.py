"""Plans of the main jobs: everything that can be checked without Spark is checked here, once, before work begins.

Each ``prepare_…`` function lists the inputs, checks options and targets, writes nothing, and returns a plan;
`median_spark.spark` executes plans.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from median_spark import storage
from median_spark.digests import check_digest_folder
from median_spark.display import printable
from median_spark.errors import InputError, OutputError, TableError, UsageError, counted, gist, listed, once_each
from median_spark.expression import (
    SOURCE,
    Columns,
    ExpressionTable,
    FailureRecord,
    SourceRecord,
    check_columns,
    check_target,
    open_table,
    require_uniform,
)
from median_spark.geneformer import check_group
from median_spark.genes import GeneMap
from median_spark.job_options import ConvertOptions, MedianOptions, ResultOptions
from median_spark.matrices import ReadOptions, SourceFile, equal_contents, find_sources
from median_spark.results import check_result_target

_SHOWN_ALIKE = 3
"""Sentences about sources that say the same of other figures: so many are shown."""


@dataclass(frozen=True)
class ConvertPlan:
    """A conversion, checked.

    Attributes
    ----------
    location : str
        Folder of the expression table.
    sources : tuple of SourceFile
        Sources that can be opened, ascending by name.
    failures : tuple of FailureRecord
        Sources that cannot be converted, as their folder shows.
    notes : tuple of str
        Notes for the user, before work begins.
    reading : ReadOptions
        Options that decide the values.
    options : ConvertOptions
        Options that decide how the work is done.
    """

    location: str
    sources: tuple[SourceFile, ...]
    failures: tuple[FailureRecord, ...]
    notes: tuple[str, ...]
    reading: ReadOptions
    options: ConvertOptions

    @property
    def names(self) -> list[str]:
        """Names of all sources, those that fail included."""
        return sorted([*(source.name for source in self.sources), *(failure.source for failure in self.failures)])


@dataclass(frozen=True)
class MediansPlan:
    """Medians of sources of an expression table, checked.

    Attributes
    ----------
    table : ExpressionTable
        The table.
    records : tuple of SourceRecord
        The sources to pool, ascending by name.
    failures : tuple of FailureRecord
        Sources to record as missing.
    target : str
        Canonical location of the result folder.
    options : MedianOptions
        Options of the computation.
    outputs : ResultOptions
        Files to write besides.
    """

    table: ExpressionTable
    records: tuple[SourceRecord, ...]
    failures: tuple[FailureRecord, ...]
    target: str
    options: MedianOptions
    outputs: ResultOptions

    @property
    def looks_at_cells(self) -> bool:
        """Whether what is known of each cell is read."""
        return self.options.cells is not None or any(name != SOURCE for name in self.outputs.by)


@dataclass(frozen=True)
class RunPlan:
    """A whole run, checked.

    Attributes
    ----------
    location : str
        Canonical location of the folder for everything.
    conversion : ConvertPlan
        The conversion, to ``expression`` in this folder.
    target : str
        Canonical location of the result, ``medians`` in this folder.
    options : MedianOptions
        Options of the computation.
    outputs : ResultOptions
        Files to write besides.
    """

    location: str
    conversion: ConvertPlan
    target: str
    options: MedianOptions
    outputs: ResultOptions

    def check_columns(self, columns: Mapping[str, Columns]) -> None:
        """Refuse attributes of cells that no source has, as `prepare_medians` does."""
        check_columns(
            self.conversion.location, columns, self.options.cells, self.outputs.by, missing=self.outputs.missing
        )


def prepare_conversion(
    inputs: str | Sequence[str],
    out: str,
    reading: ReadOptions | None = None,
    options: ConvertOptions | None = None,
) -> ConvertPlan:
    """Find the sources and check options and target of a conversion.

    Raises
    ------
    InputError
        If an input is not there or holds no matrix, or if a source cannot be read and that ends the conversion.
    UsageError
        If two files would have the same name.
    GeneTableError
        If the gene table has no gene of the chosen types.
    OutputError, TableError
        If the target holds something else, or a table of another version.
    """
    reading, options = reading or ReadOptions(), options or ConvertOptions()
    if reading.gene_table is not None:
        reading.gene_table.universe(reading.gene_types)
    every = find_sources([inputs] if isinstance(inputs, str) else inputs)
    sources = tuple(source for source in every if source.problem is None)
    failures = tuple(FailureRecord(one.name, one.file.path, one.problem) for one in every if one.problem is not None)
    check_target(out)
    stop_at_failures(failures, options)
    notes = (*every.notes(), *equal_contents(sources))
    return ConvertPlan(out, sources, failures, notes, reading, options)


def prepare_medians(
    expression: str,
    out: str,
    sources: Sequence[str] | None = None,
    options: MedianOptions | None = None,
    outputs: ResultOptions | None = None,
    *,
    overwrite: bool = False,
) -> MediansPlan:
    """Open an expression table and check options and target of its medians.

    Raises
    ------
    TableError
        If the table is damaged, empty, of another format version, lacks a source, its sources cannot be pooled, or no
        source has an attribute of cells that is named.
    OutputError
        If the target holds something else, or a result that may not be replaced.
    UsageError
        If the gene map is not that of the conversion, or dictionaries are of a source that is not there.
    """
    options, outputs = options or MedianOptions(), outputs or ResultOptions()
    target = storage.canonical(out)
    check_result_target(target, overwrite=overwrite)
    table = open_table(expression)
    records = tuple(pooled_records(table, sources))
    columns = {record.source: record.cell_columns for record in records}
    check_columns(table.location, columns, options.cells, outputs.by, missing=outputs.missing)
    _check_source_group(outputs, columns)
    if outputs.gene_map is not None:
        _check_gene_map(outputs.gene_map, records)
    if outputs.digest_pickles is not None:
        names = [record.source for record in records]
        folder = check_digest_folder(outputs.digest_pickles, names, target, overwrite=overwrite)
        outputs = replace(outputs, digest_pickles=folder)
    return MediansPlan(table, records, tuple(table.failures()), target, options, outputs)


def prepare_run(
    inputs: str | Sequence[str],
    out: str,
    reading: ReadOptions | None = None,
    conversion: ConvertOptions | None = None,
    options: MedianOptions | None = None,
    outputs: ResultOptions | None = None,
) -> RunPlan:
    """Find the sources and check options and targets of a run; the result has the gene table and map of the reading.

    Raises
    ------
    MedianSparkError
        See `prepare_conversion` and `prepare_medians`; also if `out` holds anything but an earlier run.
    """
    options, outputs = options or MedianOptions(), outputs or ResultOptions()
    out = storage.canonical(out)
    target = storage.join(out, "medians")
    _check_folder(out)
    plan = prepare_conversion(inputs, storage.join(out, "expression"), reading, conversion)
    check_result_target(target, overwrite=True)
    _check_source_group(outputs, [source.name for source in plan.sources])
    if outputs.digest_pickles is not None:
        folder = check_digest_folder(outputs.digest_pickles, plan.names, out, overwrite=True)
        outputs = replace(outputs, digest_pickles=folder)
    outputs = replace(
        outputs,
        gene_table=outputs.gene_table or plan.reading.gene_table,
        gene_map=outputs.gene_map or plan.reading.gene_map,
    )
    return RunPlan(out, plan, target, options, outputs)


def pooled_records(table: ExpressionTable, sources: Sequence[str] | None = None) -> list[SourceRecord]:
    """Return the records of some sources of a table, by default of all, ascending by name.

    Raises
    ------
    TableError
        If the table lacks one of them, or they cannot be pooled.
    """
    return chosen_records(table, table.sources(), sources)


def chosen_records(
    table: ExpressionTable, records: list[SourceRecord], sources: Sequence[str] | None = None
) -> list[SourceRecord]:
    """Return those of a table's records that `pooled_records` returns."""
    if sources is not None:
        missing = sorted(set(sources) - {record.source for record in records})
        if missing:
            message = f"{table.location}: the table has no source {listed(missing)}"
            raise TableError(message)
        chosen = set(sources)
        records = [record for record in records if record.source in chosen]
    require_uniform(table.location, records)
    return records


def stop_at_failures(failures: Sequence[FailureRecord], options: ConvertOptions) -> None:
    """Raise what the failures say if the first failure ends the conversion.

    Raises
    ------
    InputError
        If there is a failure and `options.on_error` is ``"fail"``.
    """
    if failures and options.on_error == "fail":
        raise InputError(*failures_text(failures, f"{counted(len(failures), 'source')} cannot be converted"))


def failures_text(failures: Sequence[FailureRecord], heading: str) -> list[str]:
    """Return the lines that say why sources failed: one sentence for one, else lines under a heading.

    Of sentences that differ in figures and details only, a few are shown.
    """
    if len(failures) == 1:
        return [failures[0].problem]
    alike: dict[str, list[FailureRecord]] = {}
    for failure in failures:
        alike.setdefault(gist(InputError(failure.problem).without(failure.path)), []).append(failure)
    lines = [f"{heading}:"]
    for same in alike.values():
        problems = distinct_problems(same)
        lines += [f"  {problem}" for problem in problems[:_SHOWN_ALIKE]]
        if len(problems) > _SHOWN_ALIKE:
            lines.append(
                f"  … and {len(problems) - _SHOWN_ALIKE:,} more like these: 'median-spark inspect' with the same "
                "options shows the details of each file"
            )
    return lines


def distinct_problems(failures: Sequence[FailureRecord]) -> list[str]:
    """Return why sources failed; a sentence that several share is said once, with their number and first names."""
    return once_each(
        (failure.source, printable(failure.path), InputError(failure.problem).without(failure.path))
        for failure in failures
    )


def _check_gene_map(gene_map: GeneMap, records: Sequence[SourceRecord]) -> None:
    """Refuse a gene map that is not the one by which rows were summed: a tokenizer would sum others."""
    others = [r.source for r in records if r.gene_map != gene_map.fingerprint()]
    if others:
        message = (
            f"{gene_map.path}: this is not the gene map of the expression table: {counted(len(others), 'source')} "
            f"converted with another or with none: {listed(others, 3)}: give the one of the conversion, or none"
        )
        raise UsageError(message)


def _check_source_group(outputs: ResultOptions, sources: Iterable[str]) -> None:
    """Refuse dictionaries of a source that is not there; which other groups there are is known once cells are read."""
    if outputs.by == (SOURCE,) and outputs.geneformer.dictionary_of is not None:
        check_group(outputs.geneformer.dictionary_of, outputs.by, [(name,) for name in sources])


def _check_folder(out: str) -> None:
    if storage.kind(out) == "file":
        message = f"{out}: this is a file; the results need a folder"
        raise OutputError(message)
    held = [name for name in storage.names_in(out) if name not in {"expression", "medians", "lock"}]
    others = [name for name in held if not name.startswith(".medians.")]
    if others:
        message = (
            f"{out}: this folder contains files other than those of an earlier run ({listed(others, 3)}): "
            "choose an empty or new one"
        )
        raise OutputError(message)
