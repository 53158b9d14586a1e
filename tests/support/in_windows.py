"""The command line with a window of so few rows that a small corpus falls into several bundles."""

import sys

from windows import take_windows

from median_spark.cli import main

take_windows(int(sys.argv.pop(1)))
sys.exit(main(sys.argv[1:]))
