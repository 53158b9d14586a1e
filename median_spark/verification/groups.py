"""Which cells a result was made of and in which groups they are, by the files of cells; and the medians of groups."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from median_spark import storage
from median_spark.errors import TableError, counted
from median_spark.verification.documents import read
from median_spark.verification.outcome import Verification
from median_spark.verification.stored import StoredSource

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str | None, ...]

_CLOSE = 1e-9
"""How far means and standard deviations may be from numpy's, which sums rounded numbers, as a fraction."""


class CellsOfResult:
    """The cells of each source that a result was made of, and the group of each."""

    def __init__(self, sources: Sequence[StoredSource], parameters: dict[str, Any]) -> None:
        """Look at the cells if the parameters of the result say that some were chosen, or that there are groups."""
        self.query: str | None = parameters.get("cells")
        self.by: list[str] = parameters.get("by", [])
        looks = self.query is not None or set(self.by) - {"source"}
        self._known = {source.name: self._look(source) for source in sources} if looks else {}

    def values_of(self, source: StoredSource) -> int:
        """Return how many values the chosen cells of a source have."""
        known = self._known.get(source.name)
        return int(source.record["values"] if known is None else known["n_values"].sum())

    def rows(self, source: StoredSource, genes: list[str]) -> "pd.DataFrame":
        """Return the gene, the value and the group of the values of chosen cells."""
        known = self._known.get(source.name)
        if known is None:
            rows = source.rows(genes, ["gene", "value"]).to_pandas()
            return rows.assign(group=[(source.name,) * len(self.by)] * len(rows))
        rows = source.rows(genes, ["gene", "value", "cell"]).to_pandas()
        groups = dict(zip(known["cell"], known["group"], strict=True))
        found = rows["cell"].map(groups.get)
        return rows.assign(group=found)[found.notna()]

    def figures(self, sources: Sequence[StoredSource]) -> dict[Key, tuple[int, int, int]]:
        """Return the number of sources, cells and values of each group."""
        figures: dict[Key, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
        for source in sources:
            known = self._known.get(source.name)
            if known is None:
                found = {(source.name,) * len(self.by): (source.record["cells_passed"], source.record["values"])}
            else:
                by_group = known.groupby("group")["n_values"]
                found = {key: (len(values), int(values.sum())) for key, values in by_group}
            for key, (cells, values) in found.items():
                before = figures[key]
                figures[key] = (before[0] + 1, before[1] + cells, before[2] + values)
        return figures

    def _look(self, source: StoredSource) -> "pd.DataFrame":
        import pandas as pd

        query = self.query or ""
        held = [name for name, _ in source.cell_columns]
        wanted = [name for name in held if name in {"cell", "n_values", *self.by} or name in query]
        tables = [_cells(location, wanted) for location, _ in source.cells or []]
        if not tables:
            message = f"source '{source.name}': its table keeps no cells: convert it again"
            raise TableError(message)
        table = pa.concat_tables(tables)
        nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame = pd.DataFrame(
            {
                name: table[name].to_pandas(types_mapper=nullable.get if table[name].null_count else None)
                for name in table.column_names
            }
        ).assign(source=source.name)
        columns = [
            [
                _text(value)
                for value in (table[name].to_pylist() if name in wanted else frame.get(name, [None] * len(frame)))
            ]
            for name in self.by
        ]
        frame["group"] = list(zip(*columns, strict=True)) if columns else [()] * len(frame)
        return frame.query(self.query, engine="python") if self.query is not None else frame


def _cells(location: str, columns: list[str]) -> pa.Table:
    try:
        return storage.read_parquet(storage.read_buffer(location), columns)
    except storage.UNREADABLE as error:
        message = f"{location}: this file of cells cannot be read ({error})"
        raise TableError(message) from error


def _text(value: object) -> str | None:
    """Return the text that stands for a value in a result's columns of groups."""
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def check_groups(
    done: Verification,
    result: str,
    sources: Sequence[StoredSource],
    cells: CellsOfResult,
    genes: list[str],
    *,
    exact: bool,
) -> None:
    """Recompute the figures of all groups, and everything of some genes in each."""
    by = cells.by
    groups = storage.read_parquet(read(result, "groups.parquet")).to_pylist()
    found = {tuple(row[name] for name in by): (row["sources"], row["cells"], row["values"]) for row in groups}
    expected = cells.figures(sources)
    done.check("groups.parquet", "the list of groups", sorted(found, key=str), sorted(expected, key=str))
    for key in sorted(found.keys() & expected.keys(), key=str):
        done.check(f"group {key}", "its sources, cells and values", found[key], expected[key])
    values: dict[tuple[Key, str], list[npt.NDArray[np.float64]]] = defaultdict(list)
    for source in sources:
        for (key, gene), part in cells.rows(source, genes).groupby(["group", "gene"], observed=True)["value"]:
            values[key, str(gene)].append(part.to_numpy())
    table = storage.read_parquet(read(result, "by_group.parquet"))
    rows = table.filter(pc.is_in(table["gene"], pa.array(genes, pa.string()))).to_pylist()
    by_row = {(tuple(row[name] for name in by), row["gene"]): row for row in rows}
    done.check("by_group.parquet", "the list of groups and genes", sorted(by_row, key=str), sorted(values, key=str))
    for at in sorted(by_row.keys() & values.keys(), key=str):
        row, own = by_row[at], np.concatenate(values[at])
        place = f"gene {at[1]} in group {at[0]}"
        done.check(place, "n_cells", row["n_cells"], len(own))
        if exact:
            done.check(place, "median", row["median"], float(np.median(own)))
        check_moments(done, place, row, own)
    done.compared.append(
        f"sources, cells and values of {counted(len(found), 'group')}; n_cells, medians, means and standard deviations "
        f"of {counted(len(genes), 'gene')} in each"
    )


def check_moments(done: Verification, place: str, row: dict[str, Any], values: npt.NDArray[np.float64]) -> None:
    """Recompute mean and standard deviation from exactly rounded sums."""
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((values - mean) ** 2) / (len(values) - 1)) if len(values) > 1 else None
    for name, expected in (("mean", mean), ("sd", sd)):
        found = row.get(name)
        close = found is not None and expected is not None and abs(found - expected) <= _CLOSE * mean
        if not close:
            done.check(place, name, found, expected)
