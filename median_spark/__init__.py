"""Per-gene non-zero medians of normalised expression over a whole single-cell corpus, on Spark."""

__version__ = "0.1.0"
