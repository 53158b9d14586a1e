"""Something that happens while medians of a DataFrame are computed, and a DataFrame that grows by it."""

from contextlib import contextmanager

import pandas as pd
import pyarrow as pa

from median_spark import SilentProgress


class AtStep(SilentProgress):
    """A progress reporter that calls a function once, when a step begins."""

    def __init__(self, step, function):
        self.step, self.function, self.called = step, function, False

    @contextmanager
    def working(self, text):
        if text.startswith(self.step) and not self.called:
            self.called = True
            self.function()
        yield


class GrowingRows:
    """Rows in a file that is opened again each time their DataFrame is read."""

    def __init__(self, folder, rows):
        self.path = str(folder / "rows.pickle")
        pd.DataFrame(rows).to_pickle(self.path)

    def append(self, rows):
        pd.concat([pd.read_pickle(self.path), pd.DataFrame(rows)], ignore_index=True).to_pickle(self.path)

    def frame(self, spark, schema):
        path = self.path

        def read(batches):
            for _ in batches:
                yield from pa.Table.from_pandas(pd.read_pickle(path), preserve_index=False).to_batches()

        return spark.range(1).mapInArrow(read, schema)
