"""Spark itself: sessions, numbered tasks, what its pages and errors say. Knows nothing of matrices and medians."""
