"""``spark.read.format("loom")`` and its kin."""
