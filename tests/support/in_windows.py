"""The command line with a window of so few rows that a small corpus falls into several bundles."""

import sys

from median_spark.cli import main
from median_spark.job_options import MedianOptions

defaults = MedianOptions.__init__.__defaults__
MedianOptions.__init__.__defaults__ = (*defaults[:-1], int(sys.argv.pop(1)))
sys.exit(main(sys.argv[1:]))
