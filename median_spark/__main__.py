"""`python -m median_spark`: the same as `median-spark`."""

import os
import sys

# Python has put the current folder first: an h5py.py beside the matrices must not be imported. A checkout that this
# package itself is imported from stays. Without pathlib, which would be imported from there.
_here = os.getcwd()  # noqa: PTH109
if not sys.flags.safe_path and sys.path[0] == _here and not __file__.startswith(f"{_here}/"):
    del sys.path[0]

from median_spark.cli import main  # noqa: E402

sys.exit(main())
