"""The data frames of a SOMA experiment, obs and var, and the soma_joinid of their rows."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.errors import InputError
from median_spark.guard import beat
from median_spark.matrices.arrow_columns import READABLE, array_values, is_readable
from median_spark.matrices.contract import Ints
from median_spark.matrices.coordinates import Numbering
from median_spark.matrices.soma.opening import naming_damage
from median_spark.matrices.tables import OTHER_TYPE, StoredTable, Values

JOIN_ID = "soma_joinid"


class SomaFrame(StoredTable):
    """One data frame; its rows are in the order of soma_joinid, whose numbers may have gaps."""

    def __init__(self, location: str, held: Any, name: str, axis: str) -> None:
        """Take a frame of an experiment; `name` is ``"obs"`` or ``"var"``."""
        self.location, self.noun, self.axis, self.name = location, f"{name} column", axis, name
        self._held = held
        with naming_damage(location, f"the list of columns of {name}"):
            self._kinds = {field.name: field.type for field in held.schema if field.name != JOIN_ID}
            self._by_join_id = tuple(held.index_column_names) == (JOIN_ID,)
            self.length = int(held.count)

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns but for soma_joinid, ascending."""
        return sorted(self._kinds)

    @cached_property
    def join_ids(self) -> Numbering:
        """The soma_joinid of each row."""
        if not self.length:
            return Numbering(0, 0)
        if self._by_join_id:
            with naming_damage(self.location, f"the extent of {self.name}"):
                least, greatest = self._held.non_empty_domain()[0]
            if greatest - least + 1 == self.length:
                return Numbering(self.length, int(least))
        ids, _ = self._read(None, None, None)
        if len(ids) != self.length or (ids[1:] == ids[:-1]).any():
            message = (
                f"{self.location}: {self.name} has {len(ids):,} rows where {self.length:,} are declared, or several of "
                f"one {JOIN_ID}; the experiment is damaged"
            )
            raise InputError(message)
        return Numbering(self.length, int(ids[0]), ids)

    def read_values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Read the entries ``first <= entry < last`` of a column, by default all."""
        kind = self._kinds[column]
        if not is_readable(kind):
            self.refuse(column, f"holds {kind}; columns can be read that hold {READABLE}", OTHER_TYPE)
        last = self.length if last is None else last
        if last <= first:
            return array_values(pa.chunked_array([], kind if not pa.types.is_dictionary(kind) else kind.value_type))
        ids, held = self._read(column, first, last)
        if len(ids) != last - first:
            self.refuse(column, f"has {len(ids):,} entries for {last - first:,} {self.axis}; the experiment is damaged")
        with naming_damage(self.location, self.place(column)):
            return array_values(held)

    def _read(self, column: str | None, first: int | None, last: int | None) -> tuple[Ints, Any]:
        """Return soma_joinid and a column of some rows, by default of all, in the order of soma_joinid."""
        names = [JOIN_ID] if column is None else [JOIN_ID, column]
        tables = list(self._tables(names, first, last))
        table = pa.concat_tables(tables) if tables else self._held.schema.empty_table().select(names)
        ids = table.column(JOIN_ID).to_numpy()
        held = None if column is None else table.column(column)
        if (ids[1:] < ids[:-1]).any():  # written in several steps
            order = np.argsort(ids, kind="stable")
            ids, held = ids[order], None if held is None else _unified(held).take(pa.array(order))
        if not self._by_join_id and first is not None and last is not None:
            ids, held = ids[first:last], None if held is None else held.slice(first, last - first)
        return ids, held

    def _tables(self, names: list[str], first: int | None, last: int | None) -> Iterator[pa.Table]:
        """Yield the rows of a range, or of the whole frame where it has another index, in any order."""
        coordinates: tuple[slice, ...] = ()
        if self._by_join_id and first is not None and last is not None:
            least, greatest = self.join_ids.bounds(first, last)
            coordinates = (slice(least, greatest),)
        with naming_damage(self.location, self.place(names[-1]) if len(names) > 1 else f"{JOIN_ID} of {self.name}"):
            for table in self._held.read(coordinates, column_names=names):
                beat()
                yield table


def _unified(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
