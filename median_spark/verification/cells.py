"""Which cells were chosen by a query or a list, worked out once more, by pandas on whole columns."""

import gzip
import hashlib
import io
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from median_spark import storage
from median_spark.errors import TableError
from median_spark.options import CELL_LIST

_IDS = (
    "cell", "cell_id", "cellid", "cell_label", "obs_names", "barcode", "barcodes", "cell_barcode", "index", "_index",
    "", "unnamed: 0", "__index_level_0__",
)  # fmt: skip


class Matrix(Protocol):
    """A matrix, as far as what is known of its cells goes."""

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes."""

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""


def queried(matrix: Matrix, query: str, cells: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Return for which cells a query is true; `cells` are their ids."""
    columns = {name: matrix.column(name) for name in matrix.columns if name in query}
    if "n_counts" in query and "n_counts" not in columns:
        columns["n_counts"] = pd.Series(matrix.totals())
    if "n_genes" in query and "n_genes" not in columns:
        columns["n_genes"] = pd.Series(matrix.detected())
    frame = pd.DataFrame(columns, index=range(len(cells)))
    frame.index = pd.Index(cells.astype(object))
    answer = frame.eval(query, engine="python")
    return np.array([value is not pd.NA and bool(value) for value in answer.tolist()], dtype=np.bool_)


def detected_in(counts: sparse.csc_matrix) -> npt.NDArray[np.int64]:
    """Return how many genes have a count in each cell of a matrix of cells by genes."""
    counts.sum_duplicates()
    return np.asarray((counts != 0).sum(axis=1)).ravel()


class Cells:
    """The list of cells that sources were converted with.

    Raises TableError if there is none for sources that were converted with one, or another one.
    """

    def __init__(self, recorded: dict[str, dict[str, Any]], cell_list: str | None) -> None:
        frame = _read(cell_list) if cell_list is not None else None
        fingerprint = None
        if frame is not None:
            rows = sorted("\t".join(row) for row in frame.itertuples(index=False))
            fingerprint = hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
        for source, parameters in recorded.items():
            if parameters.get("cell_list") != fingerprint:
                message = (
                    f"source '{source}' was converted with the list of cells of fingerprint "
                    f"{parameters.get('cell_list')}, and the one given has {fingerprint}: name that list with "
                    f"{CELL_LIST}"
                )
                raise TableError(message)
        self._frame = frame

    def of_source(self, name: str) -> set[str] | None:
        """Return the cells of one source that are in the list, None if there is no list."""
        if self._frame is None:
            return None
        frame = self._frame
        if "source" in frame:
            frame = frame[frame["source"] == name]
        return set(frame["cell"])


def _read(location: str) -> pd.DataFrame:
    """Return the columns cell and, if there is one, source; each row once."""
    location = storage.canonical(location)
    try:
        content = storage.read_bytes(location)
        if content[:4] == b"PAR1":
            frame = storage.read_parquet(content).to_pandas().reset_index()
        else:
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            header = content.decode("utf-8-sig").splitlines()[0]
            mark = next((mark for mark in "\t,;" if mark in header), ",")
            frame = pd.read_csv(io.BytesIO(content), sep=mark, dtype=str, keep_default_na=False).reset_index()
        frame = frame.rename(columns=lambda name: str(name).strip().lower())
        names = [name for name in _IDS if name in frame]
        # What reset_index adds is the number of the row where the file has no names of rows.
        if names[0] == "index" and pd.api.types.is_integer_dtype(frame["index"]) and len(names) > 1:
            names = names[1:]
    except (OSError, ValueError, LookupError) as error:
        message = f"{location}: the list of cells cannot be read ({type(error).__name__}: {error})"
        raise TableError(message) from error
    chosen = {"cell": frame[names[0]].astype(str).str.strip()}
    if "source" in frame:
        chosen["source"] = frame["source"].astype(str).str.strip()
    listed = pd.DataFrame(chosen)
    return listed[listed["cell"] != ""].drop_duplicates()
