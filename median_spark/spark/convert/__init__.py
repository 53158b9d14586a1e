"""From matrices to an expression table on Spark."""
