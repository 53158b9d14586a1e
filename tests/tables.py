"""What tests of expression tables and of results share: the record of a source, and a disk that is full."""

import resource
from contextlib import contextmanager
from dataclasses import replace

from median_spark.expression import SourceRecord
from median_spark.storage import FileStat

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
        census={"rows": 10, "known_rows": 7},
        warnings=["few cells pass"],
        parameters=PARAMETERS,
        software={"median_spark": "0"},
        parts=tuple(parts),
    )
    return replace(record, **changes)


@contextmanager
def files_limited_to(size):
    """Let no file of this process grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
