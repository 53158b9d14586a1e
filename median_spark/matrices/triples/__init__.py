"""Folders of triples: a Matrix Market file, and lists of its genes and cells beside it."""
