"""Into how many bundles an expression table falls: only where there are several are digests merged and refined."""

from dataclasses import fields

from median_spark.expression import open_table, plan_sweeps
from median_spark.job_options import MedianOptions


def bundles(expression, window_rows):
    """Return how many bundles a window of so many rows makes of a table."""
    table = open_table(str(expression))
    records = table.sources()
    return plan_sweeps(table.values, records, table.universe(records), window_rows=window_rows).bundles


def take_windows(rows):
    """Let windows have so many rows by default, for a command line that has no option for it."""
    defaults = dict(
        zip((each.name for each in fields(MedianOptions)), MedianOptions.__init__.__defaults__, strict=True)
    )
    MedianOptions.__init__.__defaults__ = tuple((defaults | {"window_rows": rows}).values())
