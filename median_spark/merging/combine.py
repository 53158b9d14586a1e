"""Merging files of digests into a result: find, look, merge one file after the other, write."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from median_spark import storage
from median_spark.digests import DEFAULT_COMPRESSION, check_compression
from median_spark.errors import InputError, UsageError, counted, listed
from median_spark.geneformer import GeneformerOptions, geneformer_dictionaries
from median_spark.genes import DEFAULT_GENE_TYPES, GeneTable, has_version
from median_spark.merging.find import DigestFile, FoundFiles, Kind, find_digests
from median_spark.merging.pool import DigestPool
from median_spark.merging.read import FileDigests, FileHead, read_digests, read_head
from median_spark.merging.record import MergedInput, merged_figures, merged_provenance
from median_spark.merging.register import SourceRegister
from median_spark.options import COMPRESSION, GENE_TABLE, STRIP_VERSION
from median_spark.progress import ProgressReporter, SilentProgress, StageState, stage_reporter
from median_spark.report import report_page
from median_spark.results import (
    GeneDigests,
    LeftOutIds,
    ResultSummary,
    Stopwatch,
    check_result_target,
    median_table,
    write_result,
)

_LEAST_KNOWN = 0.5
"""A file of whose ids the gene table knows less is warned about."""


@dataclass(frozen=True)
class MergeOptions:
    """What a user chooses about a merge, see `merge`."""

    gene_table: GeneTable | None
    gene_types: tuple[str, ...]
    compression: float | None
    geneformer: GeneformerOptions

    def __post_init__(self) -> None:
        if self.compression is not None:
            check_compression(self.compression)
        if not self.gene_types:
            message = "no gene type was chosen; name at least one, such as protein_coding"
            raise UsageError(message)
        if self.gene_table is None and tuple(self.gene_types) != DEFAULT_GENE_TYPES:
            message = (
                f"digests do not say of which type a gene is: choosing gene types needs a gene table ({GENE_TABLE})"
            )
            raise UsageError(message)

    def as_json(self, compression: float) -> dict[str, Any]:
        """Return the parameters that the result records; the compression is the merged digests'."""
        return {
            "compression": compression,
            "exact": False,
            "gene_table": self.gene_table.fingerprint() if self.gene_table else None,
            "gene_types": list(self.gene_types) if self.gene_table else None,
            "geneformer": asdict(self.geneformer),
        }


def merge(
    inputs: str | Sequence[str],
    out: str,
    *,
    gene_table: GeneTable | None = None,
    gene_types: tuple[str, ...] = DEFAULT_GENE_TYPES,
    compression: float | None = None,
    geneformer: GeneformerOptions | None = None,
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
) -> ResultSummary:
    """Merge digests of earlier runs, and of the published notebook, and write a result folder.

    The values are gone, so the medians are those of the digests: exact for a gene with few values, and otherwise within
    a fraction of a percent of its ranks. Files are merged in ascending order of their paths, whatever the order of the
    inputs. Values, counts of cells, minima and maxima are exact.

    Parameters
    ----------
    inputs : str or sequence of str
        Any mixture, as paths or URIs, of: digests.parquet of earlier runs, or a result, or the folder of a run; the
        published notebook's ``*.gene_median_digest_dict.pickle``, or folders that are searched for them at any depth;
        and its ``total_gene_tdigest_dict.pickle``. Pickles can call nothing.
    out : str
        Path or URI of the result folder.
    gene_table : GeneTable, optional
        Its genes of the chosen types are the genes of the result, and others are left out and counted; by default the
        genes are those that the inputs hold.
    gene_types : tuple of str
        Gene types to take from the gene table.
    compression : float, optional
        Compression of the merged digests; by default the largest among the inputs.
    geneformer : GeneformerOptions, optional
        Choices about the dictionaries that a tokenizer loads.
    overwrite : bool
        Replace an existing result.
    progress : ProgressReporter, optional
        Progress reporter; silent by default.

    Returns
    -------
    ResultSummary
        Content of ``summary.json``; figures that the inputs do not record are None.

    Raises
    ------
    InputError
        If an input is not there, or a file cannot be read or is not a file of digests.
    TableError
        If a digests.parquet is damaged or of another format version.
    UsageError
        If a source is in two inputs of which one is a result, if values were made in different ways, or if gene types
        were chosen without a gene table.
    GeneTableError, DigestError
        If the gene table has no gene of the chosen types; if the compression is out of range.
    OutputError
        If the folder contains files other than a result's, or a result that may not be replaced, or cannot be written.

    Examples
    --------
    >>> import median_spark
    >>> summary = median_spark.merge("result", "merged")
    >>> summary.medians_are
    'digest estimates'
    """
    progress, watch = progress or SilentProgress(), Stopwatch()
    target = storage.canonical(out)
    check_result_target(target, overwrite=overwrite)
    options = MergeOptions(gene_table, gene_types, compression, geneformer or GeneformerOptions())
    genes = _Genes(options)
    files, warnings = _find(inputs, target)
    register = SourceRegister()
    with progress.working(f"looking at {counted(len(files), 'file')} of digests"):
        heads = [read_head(file) for file in files]
        for file, head in zip(files, heads, strict=True):
            if head.provenance is not None:
                register.enter_result(file, head.provenance)
    watch.lap("look")
    pool = DigestPool(compression or max((head.compression or 0 for head in heads), default=0) or DEFAULT_COMPRESSION)
    merged_inputs = []
    with progress.working(f"merging {counted(len(files), 'file')} of digests"):
        watching = stage_reporter(progress)
        for file, head in zip(files, heads, strict=True):
            content = read_digests(file, head)
            if file.kind is not Kind.RESULT:
                register.enter_pickle(file, content.sha256)
            merged_inputs.append(_merge_file(file, head, content, pool, genes))
            if watching is not None:
                watching.stage_state(StageState(len(merged_inputs), len(files), "file"))
    watch.lap("merge", files=len(files), bytes_in=sum(file.file.size for file in files))
    if not pool.digests:
        message = f"{listed([file.file.path for file in files], 3)}: no gene of these digests has a value"
        raise InputError(message)
    warnings = warnings + register.warnings() + genes.warnings
    provenance = merged_provenance(merged_inputs, options.as_json(pool.compression), genes.left_out(), warnings)
    values = sum(digest.n for digest in pool.digests.values())
    figures = merged_figures(provenance, values, register, gene_types if gene_table else None)
    with progress.working("writing the result"):
        merged = GeneDigests(tuple(genes.universe()), pool.digests, pool.n_sources, pool.compression)
        table = median_table(merged, None)
        return write_result(
            target,
            table,
            merged,
            figures,
            provenance,
            dictionaries=geneformer_dictionaries(table, options.geneformer, gene_table),
            stages=watch.stages,
            report=partial(report_page, gene_table=gene_table),
        )


def _find(inputs: str | Sequence[str], target: str) -> FoundFiles:
    """Return the files of digests, none of them in the result to be written, and warnings about others."""
    found = find_digests([inputs] if isinstance(inputs, str) else inputs)
    for file in found.files:
        if file.file.path.startswith(target + "/"):
            message = f"{target}: {file.file.path} in it is an input: choose another folder for the merged result"
            raise UsageError(message)
    return found


def _merge_file(
    file: DigestFile, head: FileHead, content: FileDigests, pool: DigestPool, genes: "_Genes"
) -> MergedInput:
    finest = max(content.compressions.values(), default=0)
    if genes.options.compression is None and finest > pool.compression:  # no head tells it, as that of a mixed pickle
        message = (
            f"{file.file.path}: its digests have compressions {min(content.compressions.values()):g} to {finest:g}: "
            f"name that of the result with {COMPRESSION}"
        )
        raise UsageError(message)
    chosen = genes.choose(file, content)
    digests = {gene: digest for gene, digest in content.digests.items() if gene in chosen}
    pool.add(digests, content.compressions, content.n_sources)
    return MergedInput.of(file, head, content, chosen)


class _Genes:
    """Which of the files' genes are the result's, and which are left out."""

    def __init__(self, options: MergeOptions) -> None:
        self.options = options
        self.warnings: list[str] = []
        self._table = options.gene_table
        self._chosen = set(self._table.universe(options.gene_types)) if self._table else set()
        self._first: str | None = None
        self._unknown: set[str] = set()
        self._of_other_types: set[str] = set()

    def universe(self) -> list[str]:
        """Return the genes of the result, ascending."""
        return sorted(self._chosen)

    def choose(self, file: DigestFile, content: FileDigests) -> set[str]:
        """Return which genes of a file are the result's."""
        ids, table = set(content.genes), self._table_for(file.file.path, content.genes)
        if table is None:
            self._chosen |= ids
            return ids
        unknown = sorted(gene for gene in ids if gene not in table.gene_types)
        if len(unknown) == len(ids):
            message = (
                f"{file.file.path}: none of its {counted(len(ids), 'id')} is in the gene table {table.path}; it "
                f"has {listed(unknown, 3)}"
            )
            raise InputError(message)
        if len(unknown) > len(ids) * _LEAST_KNOWN:
            self.warnings.append(
                f"{file.file.path}: the gene table knows only {len(ids) - len(unknown):,} of its "
                f"{counted(len(ids), 'id')}, not {listed(unknown, 3)}"
            )
        self._unknown.update(unknown)
        self._of_other_types |= ids - self._chosen - set(unknown)
        return ids & self._chosen

    def _table_for(self, path: str, ids: Sequence[str]) -> GeneTable | None:
        """Return the gene table, without versions if those of the first file have none; InputError if others differ."""
        given, first = self.options.gene_table, self._first
        if given is None or not given.has_versions:
            return given
        bare = not any(map(has_version, ids))
        if first is None:
            self._first = path
            if bare:
                self._table = given.without_versions
                self._chosen = set(self._table.universe(self.options.gene_types))
                self.warnings.append(f"the ids of {path} have no versions: the gene table's were taken off")
        elif bare != (self._table is not given):
            message = (
                f"{path}: its ids have {'no ' * bare}versions, and those of {first} have {'some' if bare else 'none'}: "
                f"one gene would have two ids: convert one of them again with {STRIP_VERSION}"
            )
            raise InputError(message)
        return self._table

    def left_out(self) -> LeftOutIds:
        """Return how many ids are not the result's, and why."""
        return LeftOutIds(len(self._unknown), sorted(self._unknown)[:5], len(self._of_other_types))
