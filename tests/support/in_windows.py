"""The command line with a window of so few rows that a small corpus falls into several bundles."""

import sys

from median_spark.cli import main
from median_spark.spark.medians.medians import medians

medians.__kwdefaults__["window_rows"] = int(sys.argv.pop(1))
sys.exit(main(sys.argv[1:]))
