"""Merging files of digests into a result: find, look, merge one file after the other, write."""

import time
from collections.abc import Sequence
from dataclasses import asdict

from median_spark import storage
from median_spark.digests import DEFAULT_COMPRESSION, check_compression
from median_spark.errors import InputError, UsageError, counted, listed
from median_spark.geneformer import GeneformerOptions
from median_spark.genes import DEFAULT_GENE_TYPES, GeneTable
from median_spark.merging.find import DigestFile, Kind, find_digests
from median_spark.merging.pool import DigestPool
from median_spark.merging.read import FileDigests, FileHead, read_digests, read_head
from median_spark.merging.record import MergedFile, merged_figures, merged_provenance
from median_spark.merging.register import Ledger
from median_spark.options import COMPRESSION, GENE_TABLE
from median_spark.progress import ProgressReporter, SilentProgress
from median_spark.results import (
    GeneDigests,
    ResultSummary,
    Stopwatch,
    check_result_target,
    median_table,
    write_result,
)

_LEAST_KNOWN = 0.5
"""A file of whose ids the gene table knows less is warned about."""

_NOTE_SECONDS = 30.0


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

    The values are gone, so that the medians are those of the digests: exact for a gene of few values, and otherwise
    within a fraction of a percent of its ranks. Files are merged in ascending order of their paths, whatever the order
    of the inputs. Values, counts of cells, minima and maxima are exact.

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
        The chosen types.
    compression : float, optional
        Of the merged digests; by default the largest among the inputs.
    geneformer : GeneformerOptions, optional
        What is chosen about the dictionaries that a tokenizer loads.
    overwrite : bool
        Whether a result that lies there is replaced.
    progress : ProgressReporter, optional
        Who is told how it goes.

    Returns
    -------
    ResultSummary
        What ``summary.json`` holds; figures that the inputs do not record are None.

    Raises
    ------
    InputError
        If an input is not there, or a file cannot be read or is no file of digests.
    TableError
        If a digests.parquet is damaged or of another format version.
    UsageError
        If a source stands in two inputs of which one is a result, if values were made in different ways, or if gene
        types were chosen without a gene table.
    GeneTableError, DigestError
        If the gene table has no gene of the chosen types; if the compression is out of range.
    OutputError
        If the folder holds something else, or a result that may not be replaced, or cannot be written.
    """
    progress, geneformer, watch = progress or SilentProgress(), geneformer or GeneformerOptions(), Stopwatch()
    target = storage.canonical(out)
    check_result_target(target, overwrite=overwrite)
    if compression is not None:
        check_compression(compression)
    genes = _Genes(gene_table, gene_types)
    found = find_digests([inputs] if isinstance(inputs, str) else inputs)
    _refuse_own_input(found.files, target)
    ledger = Ledger()
    with progress.working(f"looking at {counted(len(found.files), 'file')} of digests"):
        heads = [read_head(file) for file in found.files]
        for file, head in zip(found.files, heads, strict=True):
            if head.provenance is not None:
                ledger.enter_result(file, head.provenance)
    watch.lap("look")
    pool = DigestPool(compression or max((head.compression or 0 for head in heads), default=0) or DEFAULT_COMPRESSION)
    with progress.working(f"merging {counted(len(found.files), 'file')} of digests"):
        files = _merge_all(found.files, heads, ledger, pool, genes, progress, chosen=compression is not None)
    watch.lap("merge", files=len(found.files), bytes_in=sum(file.file.size for file in found.files))
    if not pool.digests:
        message = f"{listed([file.file.path for file in found.files], 3)}: no gene of these digests has a value"
        raise InputError(message)
    universe = genes.universe()
    merged = GeneDigests(tuple(universe), pool.digests, pool.n_sources, pool.compression)
    parameters = {
        "compression": pool.compression,
        "exact": False,
        "gene_table": gene_table.fingerprint() if gene_table else None,
        "gene_types": list(gene_types) if gene_table else None,
        "geneformer": asdict(geneformer),
    }
    warnings = found.warnings + ledger.warnings() + genes.warnings
    provenance = merged_provenance(files, parameters, genes.left_out(), warnings)
    values = sum(digest.n for digest in pool.digests.values())
    figures = merged_figures(provenance, values, ledger, gene_types if gene_table else None)
    with progress.working("writing the result"):
        table = median_table(merged, None)
        return write_result(
            target,
            table,
            merged,
            figures,
            provenance,
            geneformer=geneformer,
            gene_table=gene_table,
            stages=watch.stages,
        )


def _refuse_own_input(files: Sequence[DigestFile], target: str) -> None:
    for file in files:
        if file.file.path.startswith(target + "/"):
            message = f"{target}: {file.file.path} in it is an input: choose another folder for the merged result"
            raise UsageError(message)


def _merge_all(
    found: Sequence[DigestFile],
    heads: Sequence[FileHead],
    ledger: Ledger,
    pool: DigestPool,
    genes: "_Genes",
    progress: ProgressReporter,
    *,
    chosen: bool,
) -> list[MergedFile]:
    """Merge file after file; `chosen` says whether the compression was named, or is the largest that heads tell."""
    files = []
    said = time.monotonic()
    for place, (file, head) in enumerate(zip(found, heads, strict=True)):
        read = read_digests(file, head)
        if file.kind is not Kind.RESULT:
            ledger.enter_pickle(file, read.sha256)
        if not chosen and max(read.compressions.values(), default=0) > pool.compression:
            message = (
                f"{file.file.path}: its digests have compressions {min(read.compressions.values()):g} to "
                f"{max(read.compressions.values()):g}: name that of the result with {COMPRESSION}"
            )
            raise UsageError(message)
        kept = genes.choose(file, read)
        pool.add({gene: digest for gene, digest in read.digests.items() if gene in kept}, read.compressions,
                 read.n_sources)  # fmt: skip
        files.append(MergedFile.of(file, head, read, kept))
        if time.monotonic() - said > _NOTE_SECONDS:
            said = time.monotonic()
            progress.note(f"merged {place + 1:,} of {counted(len(found), 'file')}")
    return files


class _Genes:
    """Which of the files' genes are the result's, and which are left out."""

    def __init__(self, table: GeneTable | None, gene_types: tuple[str, ...]) -> None:
        if not gene_types:
            message = "no gene type was chosen; name at least one, such as protein_coding"
            raise UsageError(message)
        if table is None and tuple(gene_types) != DEFAULT_GENE_TYPES:
            message = (
                f"digests do not say of which type a gene is: choosing gene types needs a gene table ({GENE_TABLE})"
            )
            raise UsageError(message)
        self.warnings: list[str] = []
        self._table = table
        self._types = gene_types
        self._chosen = set(table.universe(gene_types)) if table else set()
        self._unknown: set[str] = set()
        self._of_other_types: set[str] = set()

    def universe(self) -> list[str]:
        """Return the genes of the result, ascending."""
        return sorted(self._chosen)

    def choose(self, file: DigestFile, read: FileDigests) -> set[str]:
        """Return which genes of a file are the result's."""
        ids = set(read.genes)
        if self._table is None:
            self._chosen |= ids
            return ids
        unknown = sorted(gene for gene in ids if gene not in self._table.gene_types)
        if len(unknown) == len(ids):
            message = (
                f"{file.file.path}: none of its {counted(len(ids), 'id')} is in the gene table {self._table.path}; it "
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

    def left_out(self) -> dict[str, object]:
        """Return how many ids are not the result's, and why."""
        return {
            "unknown_ids": len(self._unknown),
            "unknown_examples": sorted(self._unknown)[:5],
            "ids_of_other_types": len(self._of_other_types),
        }
