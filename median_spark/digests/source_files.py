"""The published procedure's digest files, one per source: names, contents, and which folder may hold them."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from median_spark import storage
from median_spark.digests.build import Digest
from median_spark.digests.crick import PickledAsCrick, check_digests
from median_spark.errors import OutputError, UsageError, listed
from median_spark.expression import ExpressionTable

PICKLE_ENDING = ".gene_median_digest_dict.pickle"
"""End of the name of the published procedure's file of one source."""

_PICKLE_PROTOCOL = 4  # read by every Python that the published procedure runs on


@dataclass(frozen=True)
class DigestFiles:
    """Each source's file for its digests, and the `gene_list` of its record, whose genes the table has."""

    table: ExpressionTable
    gene_lists: tuple[str, ...]
    locations: tuple[str, ...]
    compression: float

    def write(self, source: int, digests: Mapping[str, Digest]) -> None:
        """Write the file of a source, by its number: a crick digest per gene, an empty one for genes without values."""
        check_digests(list(digests.values()), self.compression)
        none = np.zeros(0, dtype=np.float64)
        empty = Digest(0, np.inf, -np.inf, none, none)
        genes = self.table.genes_of(self.gene_lists[source])
        # Each gene has an object of its own, because merging changes it.
        content = {gene: PickledAsCrick(digests.get(gene, empty), self.compression) for gene in genes}
        storage.write_bytes(self.locations[source], pickle.dumps(content, protocol=_PICKLE_PROTOCOL))


def check_digest_folder(folder: str, sources: Sequence[str], result: str, *, overwrite: bool) -> str:
    """Refuse a folder that cannot take the digest pickles of some sources; return its canonical location.

    Writes nothing. Raises `UsageError` if the folder lies within the result, whose canonical location is `result`;
    `OutputError` if it is a file, has pickles of other sources, or has some that may not be replaced.
    """
    folder = storage.canonical(folder)
    if (folder + "/").startswith(result + "/"):
        message = f"{folder}: --digest-pickles needs a folder outside {result}, which is replaced whole by a later run"
        raise UsageError(message)
    if storage.kind(folder) == "file":
        message = f"{folder}: this is a file; --digest-pickles needs a folder"
        raise OutputError(message)
    names = [file.path[len(folder) + 1 :] for file in storage.files_below(folder)]
    pickled = [name.removesuffix(PICKLE_ENDING) for name in names if name.endswith(PICKLE_ENDING)]
    foreign = sorted(set(pickled) - set(sources))
    if foreign:
        message = (
            f"{folder}: this folder holds digest pickles of sources that do not belong to this run "
            f"({listed(foreign, 3)}), and whoever merges it would count them: choose an empty or new one"
        )
        raise OutputError(message)
    if pickled and not overwrite:
        message = (
            f"{folder}: this folder holds digest pickles already: replace them with --overwrite, or choose another one"
        )
        raise OutputError(message)
    return folder
