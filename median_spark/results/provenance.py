"""The record of a result: what ran, on what, and what was left out."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from median_spark.expression import FailureRecord, SourceRecord
from median_spark.versions import software_versions


def provenance_of(
    expression: str,
    records: Sequence[SourceRecord],
    failures: Sequence[FailureRecord],
    parameters: dict[str, Any],
    spark_version: str,
) -> dict[str, Any]:
    """Return the content of ``provenance.json``.

    Parameters
    ----------
    expression : str
        The expression table that was read.
    records, failures : sequences
        The sources that went in, and those whose conversion failed.
    parameters : dict
        Of the medians; those of the conversion stand with each source.
    spark_version : str
        Of the engine.
    """
    state = sorted((record.source, record.conversion) for record in records)
    return {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": {**software_versions(), "spark": spark_version},
        "parameters": parameters,
        "expression_table": expression,
        "expression_state": hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16],
        "sources": [
            {
                "source": record.source,
                "input": asdict(record.input),
                "conversion": record.conversion,
                "rows": record.rows,
                "cells": record.cells,
                "cells_passed": record.cells_passed,
                "median_n_counts": record.median_n_counts,
                "genes": record.genes,
                "values": record.values,
                "row_census": record.row_counts.as_json(),
                "known_to_gene_table": record.row_counts.known_rows / record.row_counts.rows,
                "warnings": record.warnings,
                "parameters": record.parameters,
                "software": record.software,
            }
            for record in records
        ],
        "failed_sources": [failure.as_json() for failure in failures],
    }
