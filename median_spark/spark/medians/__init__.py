"""From an expression table to medians on Spark."""
