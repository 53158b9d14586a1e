"""Medians of any Spark DataFrame that has genes and values."""
