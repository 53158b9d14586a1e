"""Under which gene a row of a matrix counts: version suffixes and gene maps, worked out once more."""

import csv
import hashlib
import io
import json
import re
from typing import Any

from median_spark import storage, unpickling
from median_spark.errors import TableError


def _read_map(location: str) -> dict[str, str]:
    """Return a gene map, a CSV or a pickle, as name in upper case to id.

    Raises
    ------
    TableError
        If it is no gene map.
    InputError
        If a pickle holds more than plain values.
    """
    location = storage.canonical(location)
    try:
        content = storage.read_bytes(location)
        found: Any
        if location.lower().endswith((".pkl", ".pickle")):
            found = unpickling.load_plain(content, location, holding="names and ids")
            pairs = [(str(name), str(gene)) for name, gene in found.items()]
        else:
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
            target = "ensembl_id" if "ensembl_id" in rows[0] else "gene_id"
            names = ("name", "gene", "gene_name", "gene_symbol", "symbol", "alias", "gene_id")
            origin = next(name for name in names if name in rows[0] and name != target)
            pairs = [(row[origin], row[target]) for row in rows]
    except (OSError, ValueError, AttributeError, LookupError, StopIteration) as error:
        message = f"{location}: the gene map cannot be read ({type(error).__name__}: {error})"
        raise TableError(message) from error
    return {name.upper(): gene for name, gene in pairs if name and gene}


class Naming:
    """Under which gene one source's rows were counted.

    Attributes
    ----------
    strip_version : bool
        Whether versions were taken off.
    gene_map : dict of str to str, or None
        Name in upper case to id.
    """

    def __init__(self, source: str, parameters: dict[str, Any], gene_map: dict[str, str] | None) -> None:
        """Take what a source's record tells.

        Raises
        ------
        TableError
            If the source was converted with a gene map other than this one.
        """
        recorded = parameters.get("gene_map")
        given = None
        if gene_map is not None:
            given = hashlib.sha256(json.dumps(sorted(gene_map.items())).encode()).hexdigest()[:16]
        if recorded is not None and given is None:
            message = (
                f"source '{source}' was converted with a gene map (fingerprint {recorded}), which its record does not "
                "hold: name it with --gene-map"
            )
            raise TableError(message)
        if recorded != given:
            told = f"with that of fingerprint {recorded}" if recorded else "without one"
            message = (
                f"the gene map given has the fingerprint {given}, and source '{source}' was converted {told}: "
                + ("name that one with --gene-map" if recorded else "leave out --gene-map")
            )
            raise TableError(message)
        self.strip_version = bool(parameters.get("strip_version", False))
        self.gene_map = gene_map

    def gene(self, name: str) -> str | None:
        """Return the id that a row counts under by its name, None if it is left out."""
        if self.strip_version:
            name = re.sub(r"^(ENS[A-Z]*\d+)\.\d+$", r"\1", name, flags=re.IGNORECASE | re.ASCII)
        return name if self.gene_map is None else self.gene_map.get(name.upper())


def namings_of(recorded: dict[str, dict[str, Any]], gene_map: str | None) -> list[Naming]:
    """Return how the rows of each source were named.

    Parameters
    ----------
    recorded : dict of str to dict
        The parameters with which each source was converted.
    gene_map : str or None
        Path or URI of the gene map.

    Raises
    ------
    TableError
        If there is no such map, or a source was converted with another one.
    """
    told = _read_map(gene_map) if gene_map is not None else None
    return [Naming(source, parameters, told) for source, parameters in recorded.items()]
