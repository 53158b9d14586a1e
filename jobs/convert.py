"""spark-submit entry point of `median-spark convert`; takes the same arguments: spark-submit jobs/convert.py --help."""

import sys

from median_spark.cli import main

sys.exit(main(["convert", *sys.argv[1:]]))
