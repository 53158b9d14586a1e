"""One source of a result: its record, and its rows in the Parquet parts."""

from functools import partial
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError
from median_spark.verification.documents import document


class StoredSource:
    """One source of a result: its name, what its JSON says, and where its Parquet files are."""

    def __init__(self, expression: str, recorded: dict[str, Any]) -> None:
        self.name: str = recorded["source"]
        encoded = quote(self.name, safe="")
        if storage.stat(storage.join(expression, "sources", f"{encoded}.json")) is None:
            message = (
                f"{expression}: this table has no source '{self.name}', from which the result was made: "
                "name the table that belongs to the result, or compute the medians again"
            )
            raise TableError(message)
        self.record = document(expression, f"sources/{encoded}.json")
        if self.record["conversion"] != recorded["conversion"]:
            message = (
                f"{expression}: source '{self.name}' has been converted anew since the result was made: "
                "compute the medians again"
            )
            raise TableError(message)
        folder = storage.join(expression, "values", f"source={encoded}")
        self.parts = [storage.join(folder, part["name"]) for part in self.record["parts"]]

    def rows(self, genes: list[str], columns: list[str]) -> pa.Table:
        """Return the rows of some genes, in the order they are stored."""
        if not self.parts:
            return pa.table({"gene": pa.array([], pa.string()), "value": pa.array([], pa.float64())})
        filesystem = storage.resolve(self.parts[0])[0]
        paths = [storage.resolve(part)[1] for part in self.parts]
        chosen = ds.field("gene").isin(genes)
        try:
            parts = storage.with_retries(
                self.parts[0], lambda: ds.dataset(paths, format="parquet", filesystem=filesystem)
            )
            return storage.with_retries(self.parts[0], lambda: parts.to_table(columns=columns, filter=chosen))
        except (OSError, pa.ArrowException) as error:
            message = f"source '{self.name}': its parts cannot be read ({error})"
            raise TableError(message) from error

    def stored_rows(self) -> int:
        """Return the rows of all parts by their own footers."""
        total = 0
        for part in self.parts:
            filesystem, path = storage.resolve(part)
            try:
                total += storage.with_retries(part, partial(pq.read_metadata, path, filesystem=filesystem)).num_rows
            except (OSError, pa.ArrowException) as error:
                message = f"{part}: this part cannot be read ({error})"
                raise TableError(message) from error
        return total
