"""What ``--json`` prints: the summary of a command as one JSON document."""

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from median_spark import __version__
from median_spark.cli.summary import Summary
from median_spark.cli.text import LEFT_OUT
from median_spark.inspection import Inspection
from median_spark.options import Style
from median_spark.results import ResultSummary

if TYPE_CHECKING:  # `inspect` and `verify` work without pyspark
    from median_spark.spark.convert.convert import ConversionSummary
    from median_spark.verification import Verification


def document_text(command: str, **content: Any) -> str:
    """Return a document of ASCII characters; it says which command and which version made it."""
    document = {"command": command, "median_spark": __version__} | content
    return json.dumps(document, indent=2, allow_nan=False)


def conversion_document(done: "ConversionSummary") -> dict[str, Any]:
    """Return the figures of a conversion."""
    records = done.records
    return {
        "converted": done.converted,
        "unchanged": done.unchanged,
        "cells": sum(record.cells for record in records),
        "cells_passed": sum(record.cells_passed for record in records),
        "values": sum(record.values for record in records),
        "rows_left_out": {field: sum(getattr(record.row_counts, field) for record in records) for field in LEFT_OUT},
        "layouts": dict(Counter(record.layout.name if record.layout else "none" for record in records)),
        "cell_list": asdict(done.cell_list) if done.cell_list else None,
        "rows_summed": sum(record.row_counts.summed_rows for record in records),
        "seconds": round(done.seconds, 3),
    }


def outcome_document(
    summary: Summary,
    *,
    conversion: "ConversionSummary | None" = None,
    result: ResultSummary | None = None,
    paths: dict[str, str],
) -> dict[str, Any]:
    """Return what `run`, `convert`, `medians` and `merge` have in common; a part that is not there is left out.

    Parameters
    ----------
    summary
        Summary for people, which has the warnings and notes.
    conversion
        Outcome of a conversion.
    result
        Content of ``summary.json``.
    paths
        Locations of what was written, by its kind.
    """
    failures = conversion.failures if conversion else result.failed_sources if result else []
    return {
        **({"conversion": conversion_document(conversion)} if conversion else {}),
        **({"summary": result.as_json()} if result else {}),
        "failures": [failure.as_json() for failure in failures],
        "warnings": summary.warnings(),
        "notes": summary.notes(),
        "paths": paths,
    }


def inspection_document(inspection: Inspection) -> dict[str, Any]:
    """Return the findings of an inspection, and why the path cannot be used, or null."""
    problem = inspection.problem
    return {
        "findings": [{"field": field, "finding": finding} for field, finding in inspection.worded(Style.FLAGS)],
        "usable": problem is None,
        "problem": None if problem is None else problem.worded(Style.FLAGS),
    }


def verification_document(done: "Verification") -> dict[str, Any]:
    """Return what was compared, and every difference."""
    return {"compared": done.compared, "differences": done.differences}
