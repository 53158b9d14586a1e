"""The published procedure's files of digests, one a source: their names, what is in them, where they may be written."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from median_spark import storage
from median_spark.digests.build import Digest
from median_spark.digests.merge import PickledAsCrick, check_digests
from median_spark.errors import OutputError, UsageError, listed
from median_spark.expression import ExpressionTable
from median_spark.options import DIGEST_PICKLES, OVERWRITE

PICKLE_ENDING = ".gene_median_digest_dict.pickle"
"""Of the published procedure's file of one source."""

_PICKLE_PROTOCOL = 4  # read by every Python that the published procedure runs on


@dataclass(frozen=True)
class DigestFiles:
    """Where the digests of each source go, as the published procedure keeps them.

    Attributes
    ----------
    table : ExpressionTable
        Has the genes of each source.
    gene_lists : tuple of str
        Fingerprint of each source's genes; see `median_spark.expression.SourceRecord`.
    locations : tuple of str
        Each source's file.
    compression : float
        Of the digests.
    """

    table: ExpressionTable
    gene_lists: tuple[str, ...]
    locations: tuple[str, ...]
    compression: float

    def write(self, source: int, digests: Mapping[str, Digest]) -> None:
        """Write a source's file, whole: a crick digest for each of its genes, an empty one where it has no value.

        Raises
        ------
        TableError
            If the list of its genes is missing.
        OutputError
            If the file cannot be written.
        """
        check_digests(list(digests.values()), self.compression)
        none = np.zeros(0, dtype=np.float64)
        empty = Digest(0, np.inf, -np.inf, none, none)
        content = {
            gene: PickledAsCrick(digests.get(gene, empty), self.compression)  # each one's own: merging changes it
            for gene in self.table.genes_of(self.gene_lists[source])
        }
        storage.write_bytes(self.locations[source], pickle.dumps(content, protocol=_PICKLE_PROTOCOL))


def check_digest_folder(folder: str, sources: Sequence[str], result: str, *, overwrite: bool) -> str:
    """Refuse a folder that cannot take the digest pickles of some sources; writes nothing.

    Parameters
    ----------
    folder : str
        Path or URI.
    sources : sequence of str
        Names of the sources.
    result : str
        Canonical location of what is written beside it.
    overwrite : bool
        Whether pickles of the same sources that lie there may be replaced.

    Returns
    -------
    str
        Its canonical location.

    Raises
    ------
    UsageError
        If it lies within the result, which is exchanged whole.
    OutputError
        If it is a file, holds pickles of other sources, or some that may not be replaced.
    """
    folder = storage.canonical(folder)
    if (folder + "/").startswith(result + "/"):
        message = (
            f"{folder}: {DIGEST_PICKLES:name} needs a folder outside {result}, which is replaced whole by a later run"
        )
        raise UsageError(message)
    if storage.kind(folder) == "file":
        message = f"{folder}: this is a file; {DIGEST_PICKLES:name} needs a folder"
        raise OutputError(message)
    held = [file.path[len(folder) + 1 :] for file in storage.files_below(folder)]
    held = [name.removesuffix(PICKLE_ENDING) for name in held if name.endswith(PICKLE_ENDING)]
    others = sorted(set(held) - set(sources))
    if others:
        message = (
            f"{folder}: this folder holds digest pickles of sources that do not belong to this run "
            f"({listed(others, 3)}), and whoever merges it would count them: choose an empty or new one"
        )
        raise OutputError(message)
    if held and not overwrite:
        message = (
            f"{folder}: this folder holds digest pickles already: replace them with {OVERWRITE}, or choose another one"
        )
        raise OutputError(message)
    return folder
