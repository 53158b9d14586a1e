"""The record of a merged result: which files went in, what is known of their sources, and what is not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from median_spark.merging.find import DigestFile, Kind
from median_spark.merging.read import FileDigests, FileHead
from median_spark.merging.register import SourceRegister
from median_spark.results import (
    CorpusFigures,
    LeftOutIds,
    MergedFile,
    MergeRecord,
    Provenance,
    RecordedSource,
    time_now,
)
from median_spark.versions import software_versions


@dataclass(frozen=True)
class MergedInput:
    """A file that was merged: what was known of it beforehand, and what is recorded of it."""

    file: DigestFile
    head: FileHead
    record: MergedFile
    says_sources: bool  # it is known of how many sources each of its digests is

    @classmethod
    def of(cls, file: DigestFile, head: FileHead, content: FileDigests, chosen: set[str]) -> "MergedInput":
        """Return a file of which some genes were chosen."""
        record = MergedFile(
            path=file.file.path,
            size=file.file.size,
            mtime_ns=file.file.mtime_ns,
            kind=str(file.kind),
            sha256=content.sha256,
            compressions=sorted(set(content.compressions.values())),
            genes=len(chosen),
            genes_left_out=len(content.genes) - len(chosen),
            values=sum(digest.n for gene, digest in content.digests.items() if gene in chosen),
        )
        return cls(file, head, record, content.says_sources)

    def sources(self) -> Iterator[RecordedSource]:
        """Yield what is recorded of the sources that the file was made of."""
        if self.file.kind is Kind.ONE_SOURCE:
            yield RecordedSource(
                self.file.name,
                self.file.file,
                self.record.sha256,
                genes=self.record.genes,
                values=self.record.values,
            )
        for source in self.head.sources:
            yield source if source.merged_from else replace(source, merged_from=self.file.file.path)

    def all_sources_known(self) -> bool:
        """Say whether every source that the file was made of is recorded."""
        if self.file.kind is not Kind.RESULT:
            return self.file.kind is Kind.ONE_SOURCE
        merge = self.head.provenance.merge if self.head.provenance else None
        return merge is None or merge.all_sources_known


def merged_provenance(
    inputs: Sequence[MergedInput], parameters: Mapping[str, Any], left_out: LeftOutIds, warnings: Sequence[str]
) -> Provenance:
    """Return the provenance of files that were merged in this order."""
    return Provenance(
        written=time_now(),
        software=software_versions(),
        parameters=parameters,
        merge=MergeRecord(
            merged=[each.record for each in inputs],
            all_sources_known=all(each.all_sources_known() for each in inputs),
            n_sources_are_lower_bounds=not all(each.says_sources for each in inputs),
            left_out=left_out,
            warnings=warnings,
        ),
        sources=[source for each in inputs for source in each.sources()],
        failed_sources=[
            failure for each in inputs if each.head.provenance for failure in each.head.provenance.failed_sources
        ],
        source_warnings=[
            warning for each in inputs if each.head.provenance for warning in each.head.provenance.source_warnings
        ],
    )


def merged_figures(
    provenance: Provenance, values: int, register: SourceRegister, gene_types: tuple[str, ...] | None
) -> CorpusFigures:
    """Return what is known of a merged corpus; gene types are those chosen from a gene table, if there was one."""
    sources = provenance.sources
    known = provenance.merge is not None and provenance.merge.all_sources_known
    recorded = known and all(source.parameters for source in sources)
    return CorpusFigures(
        sources=len(sources) if known else None,
        cells=_total([source.cells for source in sources]) if known else None,
        cells_passed=_total([source.cells_passed for source in sources]) if known else None,
        values=values,
        failed_sources=provenance.failed_sources,
        target_sum=register.target_sum() if recorded else None,
        gene_types=gene_types if gene_types is not None else register.gene_types() if recorded else (),
    )


def _total(figures: Sequence[int | None]) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if len(known) == len(figures) else None
