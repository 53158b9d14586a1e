"""Into how many bundles an expression table falls: only where there are several are digests merged and refined."""

from median_spark.expression import open_table, plan_sweeps


def bundles(expression, window_rows):
    """Return how many bundles a window of so many rows makes of a table."""
    table = open_table(str(expression))
    records = table.sources()
    return plan_sweeps(table.values, records, table.universe(records), window_rows=window_rows).bundles
