"""The corpus: where its looms and tables lie, and having them written where they are not."""

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measure import with_tests_on_path
from sizes import Sizes, short

_VERSION = 1
"""Part of the folders' names: another one where what is drawn has changed."""

_TABLE_VERSION = 2
"""The same for tables."""

H5ADS = {"gzip": {"compression": "gzip"}, "uncompressed": {}}
"""What `anndata.write_h5ad` is most often told about compression, and what it does when told nothing."""


FORMATS = {
    "10x .h5": "ranger.h5",
    "folder of triples": "plain/matrix.mtx",
    "gzipped folder of triples": "zipped/matrix.mtx.gz",
    "h5ad that was gzipped": "whole.h5ad.gz",
    "SOMA experiment": "experiment.soma",
}
"""Matrices as 10x writes them, an h5ad that was gzipped whole, and what tiledbsoma writes by its own settings."""

ZARRS = {
    "zarr 2": {"zarr_write_format": 2},
    "zarr 3": {"zarr_write_format": 3},
    "sharded zarr 3": {"zarr_write_format": 3, "auto_shard_zarr_v3": True},
}
"""Settings of anndata for the versions of zarr that it writes."""


@dataclass(frozen=True)
class Corpus:
    """Where everything lies; nothing is there until `write`.

    Attributes
    ----------
    scratch : Path
    sizes : Sizes
    """

    scratch: Path
    sizes: Sizes

    @property
    def looms(self) -> Path:
        """The folder of looms."""
        sizes = self.sizes
        return self.scratch / f"looms-v{_VERSION}-{sizes.looms}x{sizes.loom_genes}x{sizes.loom_cells}"

    @property
    def h5ads(self) -> Path:
        """The folder of h5ad files, which hold the cells of the first loom."""
        return self.scratch / f"h5ads-v{_VERSION}-{self.sizes.loom_genes}x{self.sizes.loom_cells}"

    @property
    def formats(self) -> Path:
        """The folder of matrices of `FORMATS`, which hold the cells of the first loom."""
        return self.scratch / f"formats-v{_VERSION}-{self.sizes.loom_genes}x{self.sizes.loom_cells}"

    @property
    def zarrs(self) -> Path:
        """The folder of zarr stores, which hold the same cells."""
        return self.scratch / f"zarrs-v{_VERSION}-{self.sizes.loom_genes}x{self.sizes.loom_cells}"

    @property
    def warm_up_looms(self) -> Path:
        """A loom that takes a second."""
        return self.scratch / f"looms-v{_VERSION}-warm-up"

    @property
    def warm_up_table(self) -> Path:
        """A table that takes a second."""
        return self.scratch / f"table-v{_TABLE_VERSION}-warm-up"

    @property
    def logs(self) -> Path:
        """Where the ways write what they print."""
        return self.scratch / "logs"

    def table(self, rows: int) -> Path:
        """The table of so many rows."""
        return self.scratch / f"table-v{_TABLE_VERSION}-{short(rows)}-of-{short(self.sizes.source_rows)}"

    @property
    def repeated_table(self) -> Path:
        """The table that has the sources of the largest one several times over."""
        largest = self.table(max(self.sizes.tables))
        return largest.with_name(f"{largest.name}-x{self.sizes.copies}")

    def write(self, sections: Collection[str]) -> dict[str, Any]:
        """Write what these sections need and is not there yet, on two processes; return what there is, as figures.

        Raises
        ------
        SystemExit
            If the disk has no room for it.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        free = shutil.disk_usage(self.scratch).free
        if free < self.sizes.bytes:
            message = f"{self.scratch}: {free / 2**30:.0f} GiB are free; {self.sizes.bytes / 2**30:.0f} GiB are needed"
            raise SystemExit(message)
        done = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("corpus_write.py")),
                str(self.scratch),
                self.sizes.name,
                ",".join(sections),
                *map(str, self.sizes.tables),
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=with_tests_on_path(),
        )
        return {**asdict(self.sizes), **json.loads(done.stdout)}
