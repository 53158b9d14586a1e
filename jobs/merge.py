"""spark-submit entry point of `median-spark merge`; takes the same arguments: spark-submit jobs/merge.py --help."""

import sys

from median_spark.cli import main

sys.exit(main(["merge", *sys.argv[1:]]))
