"""What a tokenizer takes for granted about its three dictionaries, as rules that can be checked.

The dictionaries published with both series of models keep every one. Knows nothing of how dictionaries are made.
"""

import math
from collections.abc import Iterator, Mapping
from numbers import Integral, Real

from median_spark.errors import counted, listed

TOKEN_LAYOUTS = (("pad", "mask"), ("pad", "mask", "cls", "eos"))
"""Special tokens, in the order of their ids, of the first and of the second series of models."""

DEFAULT_TOKENS = TOKEN_LAYOUTS[1]
"""Those of the second."""


def special(name: str) -> str:
    """Return how a token dictionary spells a special token."""
    return f"<{name}>"


def check_dictionaries(
    medians: Mapping[str, float], tokens: Mapping[str, int], mapping: Mapping[str, str]
) -> list[str]:
    """Return the rules that a model's dictionaries break, each as a sentence; none if a tokenizer can use them.

    Parameters
    ----------
    medians : mapping of str to float
        Gene to median, in counts per target sum.
    tokens : mapping of str to int
        Special token or gene to token id.
    mapping : mapping of str to str
        Id or name, in upper case, to gene.

    Notes
    -----
    A tokenizer of the second series takes the genes of the token dictionary and looks up their medians; one of the
    first takes those of the median dictionary and looks up their tokens. So with the first layout no gene may lack
    either, and with the second there may be medians without a token. Both divide by the median.
    A tokenizer upper-cases a row's id, looks it up in the mapping once, and keeps what leads to a gene with a token.

    Examples
    --------
    >>> import median_spark
    >>> medians, tokens = {"ENSG00000000003": 1.5}, {"<pad>": 0, "<mask>": 1, "ENSG00000000003": 2}
    >>> median_spark.check_dictionaries(medians, tokens, {"ENSG00000000003": "ENSG00000000003"})
    []
    """
    layout = next((layout for layout in reversed(TOKEN_LAYOUTS) if special(layout[-1]) in tokens), TOKEN_LAYOUTS[0])
    specials = [special(name) for name in layout]
    genes = [gene for gene in tokens if gene not in specials]
    without_token = [gene for gene in medians if gene not in tokens]
    broken = [
        *_token_faults(tokens, specials, genes),
        *_median_faults(medians, genes),
        *_mapping_faults(mapping, [*genes, *without_token]),
    ]
    if layout == TOKEN_LAYOUTS[0]:
        broken += _faults(without_token, "gene", "with a median has no token")
    return broken


def _token_faults(tokens: Mapping[str, int], specials: list[str], genes: list[str]) -> Iterator[str]:
    for number, token in enumerate(specials):
        if tokens.get(token) != number:
            yield f"the special token '{token}' must have the id {number}, not {tokens.get(token)}"
    yield from _faults([t for t, i in tokens.items() if not _is(i, Integral)], "token", "has an id that is not whole")
    if any(number != place for place, number in enumerate(tokens.values())):
        yield f"token ids must run from 0 to {len(tokens) - 1} without a gap, in the order of the dictionary"
    if genes != sorted(genes):
        yield "the genes of the token dictionary must ascend"


def _median_faults(medians: Mapping[str, float], genes: list[str]) -> Iterator[str]:
    yield from _faults([gene for gene in genes if gene not in medians], "gene", "with a token has no median")
    unusable = [gene for gene, m in medians.items() if not (_is(m, Real) and math.isfinite(m) and m > 0)]
    yield from _faults(unusable, "gene", "has a median that is not a finite number above 0")


def _mapping_faults(mapping: Mapping[str, str], genes: list[str]) -> Iterator[str]:
    """Yield what is wrong with a mapping that must reach some genes."""
    yield from _faults([name for name in mapping if name != name.upper()], "key", "of the mapping is not upper-case")
    lost = [gene for gene in genes if mapping.get(gene.upper()) != gene]
    yield from _faults(lost, "gene", "is not mapped to itself")
    onward = sorted({gene for gene in mapping.values() if mapping.get(gene.upper()) != gene} - set(lost))
    yield from _faults(onward, "gene", "that others are mapped to is not mapped to itself")


def _faults(names: list[str], noun: str, fault: str) -> list[str]:
    """Return one sentence on the names that break a rule, if any does."""
    return [f"{counted(len(names), noun)}, {listed(names, 3)}: {fault}"] if names else []


def _is(number: object, kind: type) -> bool:
    return isinstance(number, kind) and not isinstance(number, bool)
