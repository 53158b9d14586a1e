"""The sources of a result: their records, and their rows in the Parquet parts."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.errors import TableError
from median_spark.verification.documents import TABLE_VERSIONS, check_version, document, read

_READ_AT_ONCE = 4

_LONGEST_FOLDER = 200
"""Bytes of the name of a folder that is url-encoded for certain."""


def recorded_sources(result: str, provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the name and the conversion of each source of a result; older results list them in their provenance."""
    if "sources_file" not in provenance:
        listed: list[dict[str, Any]] = provenance["sources"]
        return listed
    content, told = read(result, "sources.parquet"), provenance["sources_file"]
    location = storage.join(result, "sources.parquet")
    try:
        if hashlib.sha256(content).hexdigest() != told["sha256"]:
            message = f"{location}: its content is not what provenance.json says: the result is damaged"
            raise TableError(message)
        rows: list[dict[str, Any]] = storage.read_parquet(content, ["source", "conversion"]).to_pylist()
    except (KeyError, TypeError, pa.ArrowException) as error:
        message = f"{location}: this file is damaged ({type(error).__name__}: {error})"
        raise TableError(message) from error
    return rows


def stored_records(expression: str) -> dict[str, dict[str, Any]]:
    """Return what a table's files say of each source, by name: of several that do, the last, and documents first."""
    if "expression" in (names := storage.names_in(expression)) and "sources" not in names:
        inner = storage.join(expression, "expression")
        message = f"{expression}: this is the folder of a run and no expression table; did you mean {inner}?"
        raise TableError(message)
    names = storage.names_in(storage.join(expression, "sources"))
    records = {}
    for name in names:
        if name.endswith(".json"):
            record = document(expression, f"sources/{name}", TABLE_VERSIONS)
            records[str(record.get("source"))] = record
    for name in names:
        if name.endswith(".jsonl"):
            records.update(_records_in(expression, f"sources/{name}"))
    return {source: record for source, record in records.items() if record}


def _records_in(expression: str, name: str) -> dict[str, dict[str, Any]]:
    """Return what a file of JSON lines says of each source; nothing of one that it says was removed."""
    location = storage.join(expression, name)
    records: dict[str, dict[str, Any]] = {}
    shared: list[dict[str, Any]] = []
    try:
        first, *lines = map(json.loads, read(expression, name).splitlines())
        check_version(location, first["format_version"], TABLE_VERSIONS)
        for line in lines:
            if "removed" in line:
                records[line["removed"]] = {}
            elif "source" in line:
                records[line["source"]] = line | shared[line["common"]]
            else:
                shared.append(line)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        message = f"{location}: this document is damaged ({type(error).__name__}: {error})"
        raise TableError(message) from error
    return records


class SourceFolders:
    """The folders of a table's sources below ``values`` and ``cells``: a long name is url-encoded in part only."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._decoded: dict[str, dict[str, str]] = {}

    def of(self, above: str, source: str) -> str:
        """Return the folder of a source below another one."""
        folder = f"source={quote(source, safe='')}"
        whole = storage.join(self._expression, above)
        if len(folder) > _LONGEST_FOLDER:
            if above not in self._decoded:
                self._decoded[above] = {unquote(name): name for name in storage.names_in(whole)}
            folder = self._decoded[above].get(f"source={source}", folder)
        return storage.join(whole, folder)


class StoredSource:
    """One source of a result: its name, what its record says, and where its Parquet files are."""

    def __init__(
        self, expression: str, recorded: dict[str, Any], records: dict[str, dict[str, Any]], folders: SourceFolders
    ) -> None:
        """Take a source as the result records it; `records` are those of `stored_records`."""
        self.name: str = recorded["source"]
        if self.name not in records:
            message = (
                f"{expression}: this table has no source '{self.name}', from which the result was made: "
                "name the table that belongs to the result, or compute the medians again"
            )
            raise TableError(message)
        self.record = records[self.name]
        if self.record["conversion"] != recorded["conversion"]:
            message = (
                f"{expression}: source '{self.name}' was reconverted after the result was made: "
                "compute the medians again"
            )
            raise TableError(message)
        folder = folders.of("values", self.name)
        self.parts = [storage.join(folder, part["name"]) for part in self.record["parts"]]
        folder, cells = folders.of("cells", self.name), self.record.get("cells_parts")
        self.cells = None if cells is None else [(storage.join(folder, name), int(rows)) for name, _, rows in cells]
        self.cell_columns = [(str(name), str(kind)) for name, kind in self.record.get("cell_columns", [])]

    def rows(self, genes: list[str], columns: list[str]) -> pa.Table:
        """Return the rows of some genes, in the order they are stored."""
        if not self.parts:
            return pa.table({"gene": pa.array([], pa.string()), "value": pa.array([], pa.float64())})
        chosen = pa.array(genes, pa.string())
        try:
            with ThreadPoolExecutor(_READ_AT_ONCE) as readers:
                parts = readers.map(lambda part: _rows_of(part, chosen, columns), self.parts)
                return pa.concat_tables(parts)
        except storage.UNREADABLE as error:
            message = f"source '{self.name}': its parts cannot be read ({error})"
            raise TableError(message) from error

    def stored_rows(self) -> int:
        """Return the rows of all parts by their own footers."""
        total = 0
        for part in self.parts:
            filesystem, path = storage.resolve(part)
            try:
                total += storage.with_retries(part, partial(pq.read_metadata, path, filesystem=filesystem)).num_rows
            except storage.UNREADABLE as error:
                message = f"{part}: this part cannot be read ({error})"
                raise TableError(message) from error
        return total


def _rows_of(part: str, genes: pa.Array, columns: list[str]) -> pa.Table:
    """Return some columns of the rows of some genes in a Parquet part, in the order they are stored."""
    filesystem, path = storage.resolve(part)

    def read() -> pa.Table:
        with filesystem.open_input_file(path) as stream:
            file = pq.ParquetFile(stream, pre_buffer=False)
            found = [file.schema_arrow.empty_table().select(columns)]
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number, {*columns, "gene"}, use_threads=False)
                found.append(rows.select(columns).filter(pc.is_in(rows["gene"], genes)))
            return pa.concat_tables(found)

    table: pa.Table = storage.with_retries(part, read)
    return table
