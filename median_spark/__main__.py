"""`python -m median_spark`: the same as `median-spark`."""

import sys

from median_spark.cli import main

sys.exit(main())
