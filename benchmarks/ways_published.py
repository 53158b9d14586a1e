"""The published procedure as it is used: a dictionary of digests per loom, pickled; then all are merged by hand."""

import contextlib
import pickle
import tempfile
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from published import digest_loom, merge
from work import Found, Work


@contextlib.contextmanager
def one_process(looms: str, scratch: str) -> Iterator[Work]:
    with _procedure(looms, 1, scratch) as work:
        yield work


@contextlib.contextmanager
def two_processes(looms: str, scratch: str) -> Iterator[Work]:
    with _procedure(looms, 2, scratch) as work:
        yield work


@contextlib.contextmanager
def _procedure(looms: str, processes: int, scratch: str) -> Iterator[Work]:
    """Give the procedure on one process or several, each taking the next loom when it is done with one."""
    paths = sorted(Path(looms).rglob("*.loom"))

    def work() -> Found:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            digest = partial(_digest, Path(folder))
            if processes == 1:
                written = [digest(path) for path in paths]
            else:
                with get_context("fork").Pool(processes) as pool:
                    written = pool.map(digest, paths, chunksize=1)
            return _merge(written, Path(folder))

    yield work


def _digest(folder: Path, loom: Path) -> Path:
    written = folder / f"{loom.stem}.pickle"
    with written.open("wb") as sink:
        pickle.dump(digest_loom(loom), sink)
    return written


def _merge(written: list[Path], folder: Path) -> Found:
    dictionaries = [pickle.loads(path.read_bytes()) for path in written]
    genes = sorted(set().union(*dictionaries))
    total = merge(dictionaries, genes)
    medians = {gene: digest.quantile(0.5) for gene, digest in total.items()}
    with (folder / "medians.pickle").open("wb") as sink:
        pickle.dump(medians, sink)
    return {"genes": sum(digest.size() > 0 for digest in total.values())}
