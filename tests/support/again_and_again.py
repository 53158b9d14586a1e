"""A driver of its own that runs the same corpus into new folders, until a file called enough is there."""

import sys
from pathlib import Path

from median_spark import ResultOptions
from median_spark.spark.engine.session import spark_session
from median_spark.spark.run import run

corpus, folder = sys.argv[1], Path(sys.argv[2])
with spark_session("local[2,1000]") as spark:
    number = 0
    while not (folder / "enough").exists():
        run(corpus, str(folder / f"out{number}"), spark=spark, outputs=ResultOptions(by=("tissue",)))
        number += 1
