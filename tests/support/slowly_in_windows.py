"""A job of several bundles, whose digests are shuffled, with a second more in every task: time to lose a machine."""

import sys
import time

from median_spark.cli import main
from median_spark.digests import digest_sweep
from median_spark.job_options import MedianOptions
from median_spark.spark.medians import corpus


def slowly(*arguments, **options):
    time.sleep(1)
    yield from digest_sweep(*arguments, **options)


corpus.digest_sweep = slowly
defaults = MedianOptions.__init__.__defaults__
MedianOptions.__init__.__defaults__ = (*defaults[:-1], int(sys.argv.pop(1)))
sys.exit(main(sys.argv[1:]))
