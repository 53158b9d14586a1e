"""Under which gene a row of a matrix counts: version suffixes and gene maps, worked out once more."""

import gzip
import hashlib
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from median_spark import pickles, storage
from median_spark.errors import TableError
from median_spark.options import GENE_MAP


def _read_map(location: str) -> dict[str, str]:
    """Return a gene map, a CSV or a pickle, as name in upper case to id; raises TableError if it is not a gene map."""
    location = storage.canonical(location)
    try:
        content = storage.read_bytes(location)
        if location.lower().endswith((".pkl", ".pickle")):
            pickled = pickles.read_dict(content, location, "a dict of name to id", TableError)
            pairs = [(str(name), str(gene)) for name, gene in pickled.items()]
        else:
            frame = _read_frame(content)
            target = "ensembl_id" if "ensembl_id" in frame else "gene_id"
            names = ("name", "gene", "gene_name", "gene_symbol", "symbol", "alias", "gene_id")
            origin = next(name for name in names if name in frame and name != target)
            pairs = list(zip(frame[origin].str.strip(), frame[target].str.strip(), strict=True))
    except (OSError, ValueError, AttributeError, LookupError, StopIteration) as error:
        message = f"{location}: the gene map cannot be read ({type(error).__name__}: {error})"
        raise TableError(message) from error
    return {name.upper(): gene for name, gene in pairs if name and gene}


def _read_frame(content: bytes) -> pd.DataFrame:
    """Return the rows of a table of text by pandas, with whatever separator, compression and comment it has."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    text = content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    while text.startswith(("#", "\n")):
        text = text.partition("\n")[2]
    header = text.splitlines()[0]
    separator = next((mark for mark in ("\t", ",", ";", " ") if mark in header), ",")
    frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    if not isinstance(frame.index, pd.RangeIndex) and not frame.iloc[:, -1].any():  # a separator ends each row
        frame = frame.reset_index().iloc[:, :-1].set_axis(frame.columns, axis=1)
    return frame.rename(columns=str.strip).fillna("")


def _means_nothing(name: str, *, or_a_number: bool = True) -> bool:
    """Say whether a text is what is written where there is no id."""
    name = name.strip()
    if re.sub(r"[#/<>-]", "", name.casefold()) in {"nan", "none", "na", "null", "nat", "true", "false"}:
        return re.fullmatch(r"-?nan|#?n/?a|<na>|none|null|nat|true|false", name, re.IGNORECASE) is not None
    if not re.search(r"[^\W_]", name) or (name[0] == "<" and name[-1] == ">"):
        return True
    if "\\" in name or "\ufffd" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        return True
    try:
        float(name)
    except ValueError:
        return False
    return or_a_number and "_" not in name


class Naming:
    """Under which gene one source's rows were counted, by its record; a gene map leads from upper-case names to ids.

    Raises TableError if the source was converted with another gene map.
    """

    def __init__(
        self,
        source: str,
        parameters: dict[str, Any],
        gene_map: dict[str, str] | None,
        respelled: Sequence[str] = (),
    ) -> None:
        recorded = parameters.get("gene_map")
        fingerprint = None
        if gene_map is not None:
            fingerprint = hashlib.sha256(json.dumps(sorted(gene_map.items())).encode()).hexdigest()[:16]
        if recorded is not None and fingerprint is None:
            message = (
                f"source '{source}' was converted with a gene map (fingerprint {recorded}), which its record does not "
                f"hold: name it with {GENE_MAP}"
            )
            raise TableError(message)
        if recorded != fingerprint:
            how = f"with that of fingerprint {recorded}" if recorded else "without one"
            message = (
                f"the gene map given has the fingerprint {fingerprint}, and source '{source}' was converted {how}: "
                + (f"name that one with {GENE_MAP}" if recorded else f"leave out {GENE_MAP}")
            )
            raise TableError(message)
        self.strip_version = bool(parameters.get("strip_version", False))
        self.respelled = respelled
        self.gene_map = gene_map

    def gene(self, name: str) -> str | None:
        """Return the id that a row counts under by its name, None if it is left out."""
        if self.strip_version:
            name = re.sub(r"^(ENS[A-Z]*\d+)\.\d+$", r"\1", name, flags=re.IGNORECASE | re.ASCII)
        if self.respelled:
            name = self._plain(name)
        gene: str | None = name
        if self.gene_map is not None:
            known = self.gene_map.get(name.upper()) or self.gene_map.get(name.upper().strip())
            gene = None if _means_nothing(name, or_a_number=False) else known
        return None if gene is None or _means_nothing(gene) else gene

    def _plain(self, name: str) -> str:
        """Return an id in the spelling that the gene table has, in which prefix, case or version may differ."""
        stem = re.search(r"(?<![A-Z0-9])ENS[A-Z]*\d+", name, re.IGNORECASE | re.ASCII)
        if stem is None:
            return name
        before, after = name[: stem.start()], name[stem.end() :].upper()
        if after.removesuffix("_PAR_Y").strip("0123456789") not in {"", "."} or after == ".":
            return name
        if before and not ("prefix" in self.respelled and re.fullmatch(r"[a-z][a-z.]*\d[a-z\d.]*[_-]+", before, re.I)):
            return name
        version = "" if "version" in self.respelled and not after.endswith("_PAR_Y") else name[stem.end() :]
        plain = stem[0] + version
        return plain.upper() if "case" in self.respelled else plain


def namings_of(recorded: dict[str, dict[str, Any]], gene_map: str | None) -> list[Naming]:
    """Return how the rows of each source were named, by its record and the gene map at a path or URI.

    Raises TableError if there is no such map, or a source was converted with another one.
    """
    ids = _read_map(gene_map) if gene_map is not None else None
    return [
        Naming(source, record["parameters"], ids, (record.get("census") or {}).get("respelled", ()))
        for source, record in recorded.items()
    ]
