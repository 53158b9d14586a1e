"""The tokenizer's dictionaries of a median table: which genes are in, their token ids, and how they may be spelled.

Knows nothing of digests, of files, or of where the medians came from.
"""

import json
import math
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import pyarrow as pa

from median_spark.errors import UsageError
from median_spark.geneformer.contract import DEFAULT_TOKENS, TOKEN_LAYOUTS, special
from median_spark.genes import GeneMap, GeneTable, is_no_id
from median_spark.options import FACTOR, MIN_CELLS, TOKENS

_NAMES = ("gene_median_dictionary", "token_dictionary", "ensembl_mapping_dict")
DICTIONARY_NAMES = tuple(f"{name}.{ending}" for ending in ("pkl", "json") for name in _NAMES)
FACTORS = ("median", "mean")
"""Columns of a median table that a cell's values may be divided by."""

Group = Mapping[str, str | None]
"""A group of cells: what each column holds in them, None if nothing."""

_PROTOCOL = 4  # read by every Python that a tokenizer may run on


@dataclass(frozen=True)
class GeneformerOptions:
    """What a user may choose about the dictionaries.

    Attributes
    ----------
    tokens : tuple of str
        Special tokens in the order of their ids, one of `TOKEN_LAYOUTS`.
    min_cells : int
        Least number of cells that a gene of the dictionaries is detected in; at least 1.
    factor : {"median", "mean"}
        Number that a gene's values are divided by: the median or the mean of its values above zero.
    dictionary_of : mapping of str to str or None, optional
        Group whose medians or means the dictionaries have instead of the corpus's: for each column that cells are
        grouped by, the text that its cells have, None for cells without one.

    Raises
    ------
    UsageError
        If no series of models has these tokens, the number is below 1, or there is no such factor.

    Examples
    --------
    >>> import median_spark
    >>> median_spark.GeneformerOptions(tokens=("pad", "mask"), min_cells=10).min_cells
    10
    """

    tokens: tuple[str, ...] = DEFAULT_TOKENS
    min_cells: int = 1
    factor: str = "median"
    dictionary_of: Group | None = None

    def __post_init__(self) -> None:
        if tuple(self.tokens) not in TOKEN_LAYOUTS:
            allowed = " or ".join(f"'{','.join(layout)}'" for layout in TOKEN_LAYOUTS)
            message = f"{TOKENS:name} must be {allowed}, as published models have, not '{','.join(self.tokens)}'"
            raise UsageError(message)
        if self.min_cells < 1:
            message = f"{MIN_CELLS:name} must be a whole number of at least 1, not {self.min_cells}"
            raise UsageError(message)
        if self.factor not in FACTORS:
            message = f"{FACTOR:name} must be {' or '.join(map(repr, FACTORS))}, not {self.factor!r}"
            raise UsageError(message)


@dataclass(frozen=True)
class DictionaryFigures:
    """What went into the dictionaries, and what did not."""

    tokens: list[str]  # special ones
    min_cells: int
    genes: int  # with a token and a median
    genes_in_fewer_cells: int  # detected, left out for `min_cells`
    genes_without_usable_median: int  # others whose median is no finite number above 0: only digests made elsewhere
    genes_told_apart_by_case: int  # others whose id differs from another's by case only: a tokenizer cannot see it
    spellings: int  # entries of the mapping
    ambiguous_names: int  # names of several of the genes, which the mapping therefore lacks
    factor: str | None = None  # one of `FACTORS`; None in results that only have medians
    dictionary_of: Group | None = None  # the group that the factors are of; None for the whole corpus

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the figures, which are written as plain fields; those of older versions may lack some."""
        known: dict[str, Any] = {each.name: document.get(each.name) for each in fields(cls)}
        return cls(**known)


@dataclass(frozen=True)
class GeneformerDictionaries:
    """What a tokenizer loads; `check_dictionaries` has the rules."""

    medians: dict[str, float]  # gene to its factor, in counts per target sum; genes ascend
    tokens: dict[str, int]  # special tokens, then the same genes, to ids from 0
    mapping: dict[str, str]  # id or name, in upper case, to gene; keys ascend
    figures: DictionaryFigures

    def files(self) -> dict[str, bytes]:
        """Return the content of the files by name; dictionaries that say the same give the same bytes."""
        contents = (self.medians, self.tokens, self.mapping)
        pickles = [pickle.dumps(content, protocol=_PROTOCOL) for content in contents]
        texts = [f"{json.dumps(content, allow_nan=False)}\n".encode("ascii") for content in contents]
        return dict(zip(DICTIONARY_NAMES, [*pickles, *texts], strict=True))


def geneformer_dictionaries(
    table: pa.Table,
    options: GeneformerOptions | None = None,
    gene_table: GeneTable | None = None,
    gene_map: GeneMap | None = None,
) -> GeneformerDictionaries:
    """Return the dictionaries of a table that has the columns gene, n_cells, and median or mean, whichever is wanted.

    Names of the gene table lead to their gene where they are the name of one gene of the dictionaries only. The gene
    map, by which the counts were summed, decides on every id and name that it holds.
    """
    options = options or GeneformerOptions()
    rows = zip(table["gene"].to_pylist(), table[options.factor].to_pylist(), table["n_cells"].to_pylist(), strict=True)
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
        factor=options.factor,
        dictionary_of=options.dictionary_of,
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
    mapping = {spelling: gene for spelling, gene in decided.items() if gene in genes}
    mapping |= {name: next(iter(bearers)) for name, bearers in named.items() if len(bearers) == 1}
    return _each_string_once(sorted(mapping.items())), sum(len(bearers) > 1 for bearers in named.values())


def _each_string_once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs with equal strings as one object.

    A pickle refers back to an object it has seen, and spells out another that is equal; so the bytes would depend on
    where the strings came from.
    """
    first: dict[str, str] = {}
    return {first.setdefault(key, key): first.setdefault(gene, gene) for key, gene in pairs}
