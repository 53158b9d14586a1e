"""Count matrices in Parquet: a cell per row with two lists, or an entry per row."""
