"""A job of several bundles, whose digests are shuffled, with a second more in every task: time to lose a machine."""

import sys
import time

from median_spark.cli import main
from median_spark.digests import digest_sweep
from median_spark.spark.medians import medians


def slowly(*arguments, **options):
    time.sleep(1)
    yield from digest_sweep(*arguments, **options)


medians.digest_sweep = slowly
medians.medians.__kwdefaults__["window_rows"] = int(sys.argv.pop(1))
sys.exit(main(sys.argv[1:]))
