"""AnnData files."""
