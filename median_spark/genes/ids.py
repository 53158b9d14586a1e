"""What the spelling of an id tells: that it is no id at all, or that it is Ensembl's in disguise.

Knows nothing of gene tables and gene maps.
"""

import re

import numpy as np
import numpy.typing as npt

_MISSING = frozenset({"nan", "-nan", "none", "na", "#na", "n/a", "#n/a", "<na>", "null", "nat", "true", "false"})
"""What programs write where there is no value, and truth values, in lower case."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?", re.IGNORECASE)

_UNREADABLE = re.compile("[\\\\\ufffd\ud800-\udfff]|^<.*>$", re.DOTALL)
"""Bytes that are no UTF-8 (see `median_spark.matrices.tables.as_strings`), and objects such as HDF5 references."""

_VERSIONED = re.compile(r"(ENS[A-Z]*[0-9]+)\.[0-9]+", re.IGNORECASE)
"""An Ensembl id with its version; symbols such as RP11-34P13.7 have dots of their own."""

_DISGUISED = re.compile(
    r"(?P<before>.*[^A-Za-z0-9])?(?P<id>ENS[A-Z]*[0-9]+)(?P<version>\.[0-9]+)?(?P<after>[^A-Za-z0-9].*)?", re.IGNORECASE
)
"""An Ensembl id in any case, with a version, with something before it (10x's GRCh38_), with something after it."""

VERSIONS = "they carry version suffixes (ENSG….12): take these off with --strip-version"


def is_no_id(text: str, *, numbers_are_ids: bool = False) -> bool:
    r"""Say whether a text cannot be the id of a gene.

    Texts for missing values, numbers, texts without a letter or digit, undecodable bytes and object references cannot.

    Parameters
    ----------
    text : str
        What a row of a matrix, of a gene table or of a gene map is called.
    numbers_are_ids : bool
        Whether numbers are accepted, as a gene map may have names such as Entrez's.

    Examples
    --------
    >>> [is_no_id(text) for text in ("ENSG00000000003", "nan", "", "12.0", r"g\xe9")]
    [False, True, True, True, True]
    """
    if text.isalnum() and text.startswith("ENS"):  # most are: nothing else needs to be looked for
        return False
    plain = text.strip()
    return (
        plain.lower() in _MISSING
        or not any(character.isalnum() for character in plain)
        or _UNREADABLE.search(plain) is not None
        or (not numbers_are_ids and _NUMBER.fullmatch(plain) is not None)
    )


def no_ids(texts: npt.NDArray[np.str_], *, numbers_are_ids: bool = False) -> npt.NDArray[np.bool_]:
    """Return which of some texts cannot be ids of genes; see `is_no_id`.

    Parameters
    ----------
    texts : ndarray of str, shape (rows,)
        What they are called.
    numbers_are_ids : bool
        See `is_no_id`.
    """
    return np.array([is_no_id(text, numbers_are_ids=numbers_are_ids) for text in texts.tolist()], dtype=np.bool_)


def has_version(gene: str) -> bool:
    """Say whether an id is Ensembl's with a version, and nothing else."""
    return _VERSIONED.fullmatch(gene) is not None


def version_off(gene: str) -> str:
    """Return an id with its version taken off if it is Ensembl's: ENSG00000123456.12 becomes ENSG00000123456."""
    match = _VERSIONED.fullmatch(gene)
    return match[1] if match else gene


def without_version(gene_ids: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return ids with the version of Ensembl ids taken off.

    Parameters
    ----------
    gene_ids : ndarray of str, shape (rows,)
        Ids; those that are not Ensembl's stay as they are, and so do ids with more than a version at their end,
        such as ENSG00000123456.12_PAR_Y.
    """
    return np.array([version_off(gene) for gene in gene_ids.tolist()], dtype=np.str_)


def like_ensembl(gene: str) -> bool:
    """Say whether an id is Ensembl's, in any case, and whatever stands before or after it."""
    return gene.startswith("LRG_") or _DISGUISED.fullmatch(gene) is not None


def why_unlike(genes: list[str]) -> str | None:
    """Say what but a version keeps ids from being plain Ensembl ids, and which option helps; None if nothing does.

    Parameters
    ----------
    genes : list of str
        Ids, at least half of them like Ensembl's.
    """
    matches = [match for match in map(_DISGUISED.fullmatch, genes) if match is not None]
    if len(matches) * 2 < len(genes):
        return None
    for match in matches:
        plain, extra = match["id"].upper(), "".join((match["before"] or "", "…", match["after"] or ""))
        if match["before"] or match["after"] not in {None, "_PAR_Y"}:
            return (
                f"they are Ensembl ids with more around them ('{extra}'): give --gene-map a CSV with the columns "
                f"name and ensembl_id that leads each to its id, such as {match[0].strip()},{plain}"
            )
        if match["id"] != plain:
            return (
                "they are Ensembl ids in lower case: give --gene-map a CSV with the columns name and ensembl_id that "
                f"leads each id to itself, such as {plain},{plain}; a gene map is looked up in any case"
            )
    return None
