"""The tokenizer's dictionaries of a median table: which genes are in, their token ids, and how they may be spelled.

Knows nothing of digests, of files, or of where the medians came from.
"""

import math
import pickle
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from median_spark.errors import UsageError
from median_spark.geneformer.contract import DEFAULT_TOKENS, check_tokens, special
from median_spark.genes import GeneMap, GeneTable, is_no_id
from median_spark.options import MIN_CELLS

_PROTOCOL = 4  # read by every Python that a tokenizer may run on


@dataclass(frozen=True)
class GeneformerOptions:
    """What a user may choose about the dictionaries.

    Attributes
    ----------
    tokens : tuple of str
        The special tokens, one of `TOKEN_LAYOUTS`.
    min_cells : int
        Genes detected in fewer cells are left out of the dictionaries; at least 1.
    """

    tokens: tuple[str, ...] = DEFAULT_TOKENS
    min_cells: int = 1

    def __post_init__(self) -> None:
        check_tokens(self.tokens)
        if self.min_cells < 1:
            message = f"{MIN_CELLS:name} must be a whole number of at least 1, not {self.min_cells}"
            raise UsageError(message)


@dataclass(frozen=True)
class DictionaryFigures:
    """What went into the dictionaries, and what did not.

    Attributes
    ----------
    tokens : list of str
        The special tokens.
    min_cells : int
        Cells that a gene must be detected in.
    genes : int
        Genes with a token and a median.
    genes_in_fewer_cells : int
        Detected genes that were left out for `min_cells`.
    genes_without_usable_median : int
        Others that were left out because their median is no finite number above 0, which a tokenizer could not divide
        by; only digests that were made elsewhere can have such a one.
    genes_told_apart_by_case : int
        Others that were left out because their id differs from another's by case only: a tokenizer cannot see it.
    spellings : int
        Entries of the mapping.
    ambiguous_names : int
        Names of several of the genes, which the mapping therefore lacks.
    """

    tokens: list[str]
    min_cells: int
    genes: int
    genes_in_fewer_cells: int
    genes_without_usable_median: int
    genes_told_apart_by_case: int
    spellings: int
    ambiguous_names: int


@dataclass(frozen=True)
class GeneformerDictionaries:
    """What a tokenizer loads; `check_dictionaries` has the rules.

    Attributes
    ----------
    medians : dict of str to float
        Gene to median, in counts per target sum; genes ascend.
    tokens : dict of str to int
        Special tokens, then the same genes, to ids from 0.
    mapping : dict of str to str
        Id or name, in upper case, to gene; keys ascend.
    figures : DictionaryFigures
        How many, and how many not.
    """

    medians: dict[str, float]
    tokens: dict[str, int]
    mapping: dict[str, str]
    figures: DictionaryFigures

    def files(self) -> dict[str, bytes]:
        """Return the content of the files by name; dictionaries that say the same give the same bytes."""
        contents = {
            "gene_median_dictionary.pkl": self.medians,
            "token_dictionary.pkl": self.tokens,
            "ensembl_mapping_dict.pkl": self.mapping,
        }
        return {name: pickle.dumps(content, protocol=_PROTOCOL) for name, content in contents.items()}


def geneformer_dictionaries(
    table: pa.Table,
    options: GeneformerOptions | None = None,
    gene_table: GeneTable | None = None,
    gene_map: GeneMap | None = None,
) -> GeneformerDictionaries:
    """Return the dictionaries of a median table.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns gene, median and n_cells.
    options : GeneformerOptions, optional
        Special tokens, and which genes are too rare.
    gene_table : GeneTable, optional
        Its names lead to their gene where they are the name of one gene of the dictionaries only.
    gene_map : GeneMap, optional
        By which the counts were summed; it has the say on every id and name that it holds.
    """
    options = options or GeneformerOptions()
    rows = zip(table["gene"].to_pylist(), table["median"].to_pylist(), table["n_cells"].to_pylist(), strict=True)
    detected = [(gene, median, cells) for gene, median, cells in rows if cells]
    frequent = {gene: median for gene, median, cells in detected if cells >= options.min_cells}
    usable = {gene: m for gene, m in frequent.items() if m is not None and math.isfinite(m) and m > 0}
    by_spelling: dict[str, str] = {}
    for gene in sorted(usable):
        by_spelling.setdefault(gene.upper(), gene)
    genes = list(by_spelling.values())
    names = [special(name) for name in options.tokens] + genes
    mapping, ambiguous = _mapping(by_spelling, gene_table, gene_map)
    figures = DictionaryFigures(
        tokens=list(options.tokens),
        min_cells=options.min_cells,
        genes=len(genes),
        genes_in_fewer_cells=len(detected) - len(frequent),
        genes_without_usable_median=len(frequent) - len(usable),
        genes_told_apart_by_case=len(usable) - len(genes),
        spellings=len(mapping),
        ambiguous_names=ambiguous,
    )
    return GeneformerDictionaries(
        {gene: usable[gene] for gene in genes}, {name: number for number, name in enumerate(names)}, mapping, figures
    )


def _mapping(
    by_spelling: dict[str, str], gene_table: GeneTable | None, gene_map: GeneMap | None
) -> tuple[dict[str, str], int]:
    """Return each spelling's gene, and how many names are left out because they are those of several genes.

    A name that several genes of the table share, of which the dictionaries have one, leads to that one: most often the
    others are the same gene on alternate haplotypes. The published mapping does the same.
    """
    genes = set(by_spelling.values())
    ids = gene_map.ids if gene_map else {}
    decided = by_spelling | {name: ids[name] for name in ids if not is_no_id(name, numbers_are_ids=True)}
    named: dict[str, set[str]] = {}
    for gene, name in (gene_table.gene_names if gene_table else {}).items():
        if gene in genes and name.upper() not in decided:
            named.setdefault(name.upper(), set()).add(gene)
    found = {spelling: gene for spelling, gene in decided.items() if gene in genes}
    found |= {name: next(iter(bearers)) for name, bearers in named.items() if len(bearers) == 1}
    return _each_string_once(sorted(found.items())), sum(len(bearers) > 1 for bearers in named.values())


def _each_string_once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs with equal strings as one object.

    A pickle refers back to an object it has seen, and spells out another that is equal; so the bytes would tell where
    the strings came from.
    """
    seen: dict[str, str] = {}
    return {seen.setdefault(key, key): seen.setdefault(gene, gene) for key, gene in pairs}
