"""TileDB-SOMA experiments."""
