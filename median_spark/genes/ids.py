"""What the spelling of an id tells: that it is no id at all, or Ensembl's in another form."""

import re

import numpy as np
import numpy.typing as npt

from median_spark.options import GENE_MAP, STRIP_VERSION

_MISSING = frozenset({"nan", "-nan", "none", "na", "#na", "n/a", "#n/a", "<na>", "null", "nat", "true", "false"})
"""What programs write for missing values, and truth values, in lower case."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?", re.IGNORECASE)

_UNREADABLE = re.compile("[\\\\\ufffd\ud800-\udfff]|^<.*>$", re.DOTALL)
"""Bytes that are no UTF-8 (see `median_spark.matrices.tables.as_strings`), and objects such as HDF5 references."""

_VERSIONED = re.compile(r"(ENS[A-Z]*[0-9]+)\.[0-9]+", re.IGNORECASE)
"""An Ensembl id with its version; symbols such as RP11-34P13.7 have dots of their own."""

_RESPELLABLE = re.compile(
    r"(?P<prefix>(?!ENS[A-Z]*[0-9])[A-Z][A-Z0-9.]*[0-9][A-Z0-9.]*[_-]+)?(?P<id>ENS[A-Z]*[0-9]+)"
    r"(?P<version>\.[0-9]+)?(?P<par>_PAR_Y)?",
    re.IGNORECASE,
)
"""An Ensembl id in any case, with a version, and with the name of an assembly before it (10x's GRCh38_)."""

_MOST_PREFIXES = 3
"""Different prefixes, at most, that are taken for names of assemblies: a matrix has one for each of its species."""

_DISGUISED = re.compile(
    r"(?P<before>.*[^A-Za-z0-9])?(?P<id>ENS[A-Z]*[0-9]+)(?P<version>\.[0-9]+)?(?P<after>[^A-Za-z0-9].*)?", re.IGNORECASE
)
"""An Ensembl id in any case, with a version, with text before it (10x's GRCh38_), with text after it."""

PREFIX, CASE, VERSION = "prefix", "case", "version"
"""In what an id may differ from the gene table's and still be the same; see `respelled`."""

VERSIONS = f"they carry version suffixes (ENSG….12): take these off with {STRIP_VERSION}"


def is_no_id(text: str, *, numbers_are_ids: bool = False) -> bool:
    r"""Say whether a text cannot be the id of a gene.

    Texts for missing values, numbers, texts without a letter or digit, undecodable bytes and object references cannot.
    Numbers may be accepted: a gene map can have names such as Entrez's.

    >>> [is_no_id(text) for text in ("ENSG00000000003", "nan", "", "12.0", r"g\xe9")]
    [False, True, True, True, True]
    """
    if text.isalnum() and text.startswith("ENS"):  # most are
        return False
    plain = text.strip()
    return (
        plain.lower() in _MISSING
        or not any(character.isalnum() for character in plain)
        or _UNREADABLE.search(plain) is not None
        or (not numbers_are_ids and _NUMBER.fullmatch(plain) is not None)
    )


def no_ids(texts: npt.NDArray[np.str_], *, numbers_are_ids: bool = False) -> npt.NDArray[np.bool_]:
    """Return which texts cannot be ids of genes; see `is_no_id`."""
    return np.array([is_no_id(text, numbers_are_ids=numbers_are_ids) for text in texts.tolist()], dtype=np.bool_)


def has_version(gene: str) -> bool:
    """Say whether an id is Ensembl's with a version, and nothing else."""
    return _VERSIONED.fullmatch(gene) is not None


def version_off(gene: str) -> str:
    """Return an Ensembl id without its version: ENSG00000123456.12 becomes ENSG00000123456; others stay."""
    match = _VERSIONED.fullmatch(gene)
    return match[1] if match else gene


def without_version(gene_ids: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return ids with the version of Ensembl ids taken off; ENSG00000123456.12_PAR_Y, for one, stays as it is."""
    return np.array([version_off(gene) for gene in gene_ids.tolist()], dtype=np.str_)


def respellings(gene_ids: npt.NDArray[np.str_]) -> tuple[str, ...]:
    """Return in what Ensembl ids differ from plain ones: some of `PREFIX`, `CASE` and `VERSION`.

    A prefix is the name of an assembly, with a digit. If a matrix has more than three of them, they are something else.
    """
    kinds, prefixes = set(), set()
    for match in map(_RESPELLABLE.fullmatch, gene_ids.tolist()):
        if match is None:
            continue
        if match["prefix"]:
            prefixes.add(match["prefix"])
        if match["id"] != match["id"].upper():
            kinds.add(CASE)
        if match["version"] and not match["par"]:
            kinds.add(VERSION)
    if 0 < len(prefixes) <= _MOST_PREFIXES:
        kinds.add(PREFIX)
    return tuple(kind for kind in (PREFIX, CASE, VERSION) if kind in kinds)


def respelled(gene_ids: npt.NDArray[np.str_], kinds: tuple[str, ...]) -> npt.NDArray[np.str_]:
    """Return ids with prefixes taken off, in capitals, without versions, as `kinds` say; ids of other kinds stay.

    >>> respelled(np.array(["GRCh38_ENSG00000000003.15", "GFP"]), (PREFIX, VERSION)).tolist()
    ['ENSG00000000003', 'GFP']
    """
    return np.array([_respelled(gene, kinds) for gene in gene_ids.tolist()], dtype=np.str_)


def _respelled(gene: str, kinds: tuple[str, ...]) -> str:
    match = _RESPELLABLE.fullmatch(gene) if kinds else None
    if match is None or (match["prefix"] and PREFIX not in kinds):
        return gene
    stem = match["id"].upper() if CASE in kinds else match["id"]
    version, par = match["version"] or "", match["par"] or ""
    return stem + ("" if VERSION in kinds and not par else version) + (par.upper() if CASE in kinds else par)


def like_ensembl(gene: str) -> bool:
    """Say whether an id is Ensembl's, in any case, with any text before or after it."""
    return gene.startswith("LRG_") or _DISGUISED.fullmatch(gene) is not None


def plain_id(gene: str) -> str:
    """Return the Ensembl id that a text is or has in it, as a gene table would list it; any other text as it is."""
    match = _DISGUISED.fullmatch(gene)
    return gene if match is None else match["id"].upper()


def why_unlike(genes: list[str]) -> str | None:
    """Say what but a version keeps ids, most of them like Ensembl's, from being plain ones, and which option helps."""
    matches = [match for match in map(_DISGUISED.fullmatch, genes) if match is not None]
    if len(matches) * 2 < len(genes):
        return None
    for match in matches:
        plain, extra = match["id"].upper(), "".join((match["before"] or "", "…", match["after"] or ""))
        if match["before"] or match["after"] not in {None, "_PAR_Y"}:
            return (
                f"they are Ensembl ids with more around them ('{extra}'): give {GENE_MAP:name} a CSV with the columns "
                f"name and ensembl_id that leads each to its id, such as {match[0].strip()},{plain}"
            )
        if match["id"] != plain:
            return (
                f"they are Ensembl ids in lower case: give {GENE_MAP:name} a CSV with the columns name and "
                f"ensembl_id that leads each id to itself, such as {plain},{plain}; a gene map is looked up in any case"
            )
    return None
