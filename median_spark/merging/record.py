"""The record of a merged result: which files went in, what is known of their sources, and what is not."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from median_spark.merging.find import DigestFile, Kind
from median_spark.merging.read import FileDigests, FileHead
from median_spark.merging.register import Ledger
from median_spark.results import CorpusFigures
from median_spark.versions import software_versions


@dataclass(frozen=True)
class MergedFile:
    """What became of one file.

    Attributes
    ----------
    found : DigestFile
        Which.
    head : FileHead
        What was known of it beforehand.
    sha256 : str
        Of its content.
    compressions : list of float
        Of its digests, ascending, each once.
    genes, genes_left_out, values : int
        Genes that were merged, genes that were not, and values of those that were.
    says_sources : bool
        Whether it is known of how many sources each of its digests is.
    """

    found: DigestFile
    head: FileHead
    sha256: str
    compressions: list[float]
    genes: int
    genes_left_out: int
    values: int
    says_sources: bool

    @classmethod
    def of(cls, found: DigestFile, head: FileHead, read: FileDigests, chosen: set[str]) -> "MergedFile":
        """Return the record of a file of which some genes were chosen."""
        return cls(
            found=found,
            head=head,
            sha256=read.sha256,
            compressions=sorted(set(read.compressions.values())),
            genes=len(chosen),
            genes_left_out=len(read.genes) - len(chosen),
            values=sum(digest.n for gene, digest in read.digests.items() if gene in chosen),
            says_sources=read.says_sources,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON."""
        return {
            **asdict(self.found.file),
            "kind": str(self.found.kind),
            "sha256": self.sha256,
            "compressions": self.compressions,
            "genes": self.genes,
            "genes_left_out": self.genes_left_out,
            "values": self.values,
        }

    def sources(self) -> Iterator[dict[str, Any]]:
        """Yield what is recorded of the sources that the file was made of."""
        if self.found.kind is Kind.ONE_SOURCE:
            yield {
                "source": self.found.name,
                "input": asdict(self.found.file),
                "sha256": self.sha256,
                "conversion": None,
                "cells": None,
                "cells_passed": None,
                "genes": self.genes,
                "values": self.values,
                "row_census": {},
                "warnings": [],
                "parameters": {},
                "software": {},
            }
        for source in (self.head.provenance or {}).get("sources", []):
            yield {**source, "merged_from": source.get("merged_from", self.found.file.path)}

    def all_sources_known(self) -> bool:
        """Say whether every source that the file was made of is recorded."""
        if self.found.kind is Kind.RESULT:
            return bool((self.head.provenance or {}).get("all_sources_known", True))
        return self.found.kind is Kind.ONE_SOURCE


def merged_provenance(
    files: Sequence[MergedFile], parameters: dict[str, Any], left_out: dict[str, Any], warnings: list[str]
) -> dict[str, Any]:
    """Return the content of ``provenance.json``.

    Parameters
    ----------
    files : sequence of MergedFile
        In the order of merging.
    parameters : dict
        Of the merge.
    left_out : dict
        Ids that are not among the genes, by why.
    warnings : list of str
        What a person should look at.
    """
    return {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": software_versions(),
        "parameters": parameters,
        "expression_table": None,
        "merged": [file.as_json() for file in files],
        "all_sources_known": all(file.all_sources_known() for file in files),
        "n_sources_are_lower_bounds": not all(file.says_sources for file in files),
        "left_out": left_out,
        "warnings": warnings,
        "sources": [source for file in files for source in file.sources()],
        "failed_sources": [
            failed for file in files for failed in (file.head.provenance or {}).get("failed_sources", [])
        ],
    }


def merged_figures(
    provenance: dict[str, Any], values: int, ledger: Ledger, gene_types: tuple[str, ...] | None
) -> CorpusFigures:
    """Return what is known of the corpus that was merged.

    Parameters
    ----------
    provenance : dict
        See `merged_provenance`.
    values : int
        Of all genes.
    ledger : Ledger
        What results record of their parameters.
    gene_types : tuple of str or None
        The chosen types, where a gene table tells them; else what results record.
    """
    sources = provenance["sources"]
    known = provenance["all_sources_known"]
    recorded = known and all(source.get("parameters") for source in sources)
    return CorpusFigures(
        sources=len(sources) if known else None,
        cells=_total(sources, "cells") if known else None,
        cells_passed=_total(sources, "cells_passed") if known else None,
        values=values,
        failed_sources=provenance["failed_sources"],
        target_sum=ledger.target_sum() if recorded else None,
        gene_types=gene_types if gene_types is not None else ledger.gene_types() if recorded else (),
    )


def _total(sources: Sequence[dict[str, Any]], field: str) -> int | None:
    figures = [source.get(field) for source in sources]
    return None if None in figures else sum(figure for figure in figures if figure is not None)
