"""A job of several bundles, whose digests are shuffled, with a second more in every task: time to lose a machine."""

import sys
import time

from windows import take_windows

from median_spark.cli import main
from median_spark.digests import digest_sweep
from median_spark.spark.medians import corpus


def slowly(*arguments, **options):
    time.sleep(1)
    yield from digest_sweep(*arguments, **options)


corpus.digest_sweep = slowly
take_windows(int(sys.argv.pop(1)))
sys.exit(main(sys.argv[1:]))
