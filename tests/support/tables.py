"""What tests of expression tables and of results share: a source's record, genes' digests, and a disk that is full."""

import json
import resource
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.digests import digest_values, sort_values
from median_spark.digests.moments import mean_and_sd
from median_spark.expression import SourceRecord, UnitRecord, committed_name, write_cells, write_part
from median_spark.gene_values import GeneValues
from median_spark.genes import RowCounts
from median_spark.results import GeneDigests
from median_spark.storage import FileStat, write_json

COMPRESSION = 100.0
"""Of the digests that `digests_of` makes."""

SAME_BYTES = (
    "medians.csv",
    "total_gene_tdigest_dict.pickle",
    "total_gene_median_dict.pickle",
    "detected_gene_median_dict.pickle",
    "gene_detection_counts_dict.pickle",
    "geneformer/gene_median_dictionary.pkl",
    "geneformer/token_dictionary.pkl",
    "geneformer/ensembl_mapping_dict.pkl",
    "geneformer/gene_median_dictionary.json",
    "geneformer/token_dictionary.json",
    "geneformer/ensembl_mapping_dict.json",
)
"""Files of a result that are the same whatever has made it."""

SAME_ANYWHERE = (*SAME_BYTES, "groups.csv", "detection_counts.png")
"""The same, and what must not tell where sources and result are."""


def content_anywhere(location):
    """Return what must be the same wherever a result is, on disk or on a store; it may have no groups."""
    grouped = "groups.csv" in storage.names_in(str(location))
    names = [name for name in SAME_ANYWHERE if grouped or name != "groups.csv"]
    found = {name: storage.read_bytes(storage.join(str(location), name)) for name in names}
    for name in ("digests.parquet", "medians.parquet", *(["by_group.parquet"] if grouped else [])):
        filesystem, path = storage.resolve(storage.join(str(location), name))
        found[name] = pq.read_table(path, filesystem=filesystem).replace_schema_metadata(None)
    return found


ROW_COUNTS = RowCounts(
    rows=10, selected_rows=6, genes=5, summed_rows=1, other_type_rows=1, unknown_rows=3, known_rows=7, disputed_rows=0,
    unknown_examples=("X1",),
)  # fmt: skip

PARAMETERS = {"target_sum": 10_000.0, "gene_types": ["miRNA", "protein_coding"], "gene_table": None}


def record_of(source, conversion="c0", parts=(), **changes):
    """Return the record of a source with the values of its parts; `changes` replace other fields, or this count."""
    record = SourceRecord(
        source=source,
        input=FileStat(f"/looms/{source}.loom", 100, 7),
        conversion=conversion,
        rows=10,
        cells=20,
        cells_passed=15,
        genes=5,
        values=sum(part.rows for part in parts),
        gene_list="none",
        row_counts=ROW_COUNTS,
        warnings=["few cells pass"],
        parameters=PARAMETERS,
        software={"median_spark": "0"},
        parts=tuple(parts),
    )
    return replace(record, **changes)


def cells_of(ids, n_genes=1, **attributes):
    """Return a table of cells, as a unit yields it."""
    columns = {
        "cell": pa.array(ids, pa.string()),
        "n_counts": pa.array([10.0] * len(ids), pa.float64()),
        "n_genes": pa.array([n_genes] * len(ids), pa.int32()),
    }
    return pa.table(columns | attributes)


def stage_source(table, source, conversion, values, units=2):
    """Stage units of the given values of one gene each, and return the record that would commit them."""
    runs = GeneValues(
        np.array(["A"]), np.array([0, len(values)]), np.array(values), np.arange(len(values), dtype=np.int32)
    )
    ids = np.array([f"cell{number}" for number in range(len(values))])
    parts, cells_parts, cells = [], [], cells_of(ids.tolist())
    for unit in range(units):
        location, document = table.staging.unit(conversion, unit)
        part = write_part(location, runs, ids)
        entry = write_cells(table.staging.unit_cells(conversion, unit), cells)
        write_json(document, UnitRecord(0, len(values), len(values), part, cells=entry).as_json())
        parts.append(replace(part, name=committed_name(unit, conversion)))
        cells_parts.append(replace(entry, name=committed_name(unit, conversion)))
    columns = tuple((field.name, str(field.type)) for field in cells.schema)
    return record_of(source, conversion, parts, cells_parts=tuple(cells_parts), cell_columns=columns)


def stored_records(location):
    """Return {source: its record's JSON} of a table's files of records, read without the package."""
    found = {}
    for path in sorted((Path(location) / "sources").glob("*.jsonl")):
        shared = []
        for line in map(json.loads, path.read_text().splitlines()[1:]):
            if "removed" in line:
                found.pop(line["removed"], None)
            elif "source" in line:
                found[line["source"]] = line | shared[line["common"]]
            else:
                shared.append(line)
    return found


def change_record(location, source, change):
    """Apply a function to the JSON of a source's record, in every file that has one, without what files share."""
    for path in (Path(location) / "sources").glob("*.jsonl"):
        lines = list(map(json.loads, path.read_text().splitlines()))
        for line in lines:
            if line.get("source") == source:
                change(line)
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def record_file(location):
    """Return the only file of records of a table."""
    (path,) = (Path(location) / "sources").glob("*.jsonl")
    return path


def fingerprint(result):
    """Return what must be the same: files byte by byte, and the digests' content."""
    result = Path(result)
    found = {name: (result / name).read_bytes() for name in SAME_BYTES}
    found |= {path.name: path.read_bytes() for path in sorted(result.glob("*group*")) if path.is_file()}
    return found | {"digests": pq.read_table(result / "digests.parquet").replace_schema_metadata(None)}


def content(folder):
    """Return {relative path: bytes} of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def digests_of(values, n_sources=1):
    """Return the merged digests of {gene: values}; a gene without values is undetected."""
    detected = {gene: np.asarray(found, dtype=np.float64) for gene, found in sorted(values.items()) if len(found)}
    offsets = np.concatenate([[0], np.cumsum([len(found) for found in detected.values()], dtype=np.int64)])
    runs = GeneValues(np.array(list(detected), dtype=np.str_), offsets, np.concatenate([[], *detected.values()]))
    sort_values(runs)
    digests = dict(zip(detected, digest_values(runs, COMPRESSION), strict=True))
    means = dict(zip(detected, zip(*mean_and_sd(runs.values, offsets), strict=True), strict=True))
    return GeneDigests(tuple(sorted(values)), digests, dict.fromkeys(detected, n_sources), COMPRESSION, means)


@contextmanager
def files_limited_to(size):
    """Let no file of this process grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
