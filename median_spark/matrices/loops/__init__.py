"""Loops over single entries, compiled by numba."""
