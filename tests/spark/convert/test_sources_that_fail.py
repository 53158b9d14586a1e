"""One source that hangs, crashes, eats memory or changes: it fails, by name, and the others are finished."""

import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom
from processes import PATIENCE

from median_spark import ConvertOptions, convert
from median_spark.errors import InputError
from median_spark.expression import open_table
from median_spark.guard import Limits
from median_spark.progress import SilentProgress

pytestmark = pytest.mark.spark

COUNTS = random_counts(np.random.default_rng(3), 60, 40)
LIMITS = Limits(processor_seconds=5)


def write_hanging(path):
    """Write a matrix in whose texts HDF5 loops for ever: the block of the file that holds them is all zero."""
    ids = [f"ENSG{number:011d}" for number in range(60)]
    if path.suffix == ".loom":
        write_loom(path, COUNTS, ensembl_id=np.array(ids, dtype=h5py.string_dtype()))
    else:
        write_h5ad(path, COUNTS, ensembl_id=np.array(ids, dtype=h5py.string_dtype()))
    content = bytearray(path.read_bytes())
    start = content.find(b"GCOL")
    assert start > 0
    while start >= 0:
        size = int.from_bytes(content[start + 8 : start + 16], "little")
        content[start + 16 : start + size] = bytes(size - 16)
        start = content.find(b"GCOL", start + size)
    path.write_bytes(content)


@pytest.fixture(params=[".loom", pytest.param(".h5ad", marks=pytest.mark.slow)])
def corpus(request, tmp_path):
    folder = tmp_path / "corpus"
    for name in ("a", "c"):
        write_loom(folder / f"{name}.loom", COUNTS)
    write_hanging(folder / f"b{request.param}")
    return folder


class Told(SilentProgress):
    """Keeps what is said; does something when a conversion begins to read counts."""

    def __init__(self, at_reading=lambda: None):
        self.notes = []
        self._at_reading = at_reading

    def note(self, text):
        self.notes.append(text)

    def convert_state(self, state):
        del state

    @contextmanager
    def working(self, text):
        self.notes.append(text)
        self._at_reading()
        yield


@pytest.mark.slow
def test_a_source_that_hangs_fails_and_the_others_are_finished(spark, corpus, tmp_path):
    told = Told()
    done = convert(
        str(corpus),
        str(tmp_path / "x"),
        spark=spark,
        options=ConvertOptions(on_error="skip", limits=LIMITS),
        progress=told,
    )
    assert done.converted == ["a", "c"]
    (failure,) = done.failures
    assert failure.source == "b"
    assert failure.reason.startswith(f"{next(corpus.glob('b.*'))}: reading it took more than 5 s of processor time")
    assert "reading 3 sources" in told.notes
    assert any(note.startswith("waiting for source 'b', which makes no progress") for note in told.notes)
    assert not list((tmp_path / "x" / "staging").iterdir())


@pytest.mark.slow
def test_without_skipping_one_sentence_names_the_file(spark, corpus, tmp_path):
    with pytest.raises(InputError, match=r"^\S+/b\.\w+: reading it took more than 5 s of processor time[^\n]*$"):
        convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(limits=LIMITS))


@pytest.mark.slow
def test_a_source_over_which_the_reader_crashes_fails(spark, corpus, tmp_path):
    """The reader is crashed from outside while it hangs, as HDF5 crashes it over other files."""
    ended = threading.Event()

    def crash():
        begun = {}  # the processor time of each reader when it was first seen
        while not ended.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    spent = process.cpu_times().user
                    if is_reader(process) and spent - begun.setdefault(process.pid, spent) > 2:
                        process.send_signal(signal.SIGSEGV)

    crasher = threading.Thread(target=crash)
    crasher.start()
    try:
        done = convert(
            str(corpus),
            str(tmp_path / "x"),
            spark=spark,
            options=ConvertOptions(on_error="skip", limits=Limits(memory=2 << 30)),
        )
    finally:
        ended.set()
        crasher.join()
    assert done.converted == ["a", "c"]
    assert "the process that read it was ended by SIGSEGV" in done.failures[0].reason


def test_a_source_that_needs_more_memory_than_it_may_have_fails(spark, tmp_path):
    write_loom(tmp_path / "corpus" / "a.loom", COUNTS)
    wide = np.zeros((60, 1_000_000), dtype=np.uint8)
    wide[0] = 1
    write_loom(tmp_path / "corpus" / "b.loom", wide, storage={"chunks": wide.shape, "compression": "gzip"})
    done = convert(
        str(tmp_path / "corpus"),
        str(tmp_path / "x"),
        spark=spark,
        options=ConvertOptions(on_error="skip", limits=Limits(memory=256 << 20)),
    )
    assert done.converted == ["a"]
    assert "b.loom: reading it needs more than 0.25 GiB of memory" in done.failures[0].reason


@pytest.mark.parametrize("shape", [(80, 40), (40, 40), (60, 20), (60, 70)])
def test_a_source_that_is_replaced_while_it_is_read_fails(spark, tmp_path, shape):
    path = Path(write_loom(tmp_path / "corpus" / "b.loom", COUNTS))
    write_loom(tmp_path / "corpus" / "a.loom", COUNTS)

    def replace():
        write_loom(tmp_path / "other.loom", np.ones(shape, dtype=np.int32))
        (tmp_path / "other.loom").replace(path)

    once = [replace]
    told = Told(lambda: once and once.pop()())
    done = convert(
        str(path.parent), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"), progress=told
    )
    assert done.converted == ["a"]
    assert done.failures[0].reason == f"{path}: this file was changed while it was being read; convert it again"
    assert convert(str(path.parent), str(tmp_path / "x"), spark=spark).converted == ["b"]
    assert [record.source for record in open_table(str(tmp_path / "x")).sources()] == ["a", "b"]


def test_readers_end_with_the_workers(spark, tmp_path):
    """Those of a session that is stopped, too: no process is left that holds a file."""
    convert(write_loom(tmp_path / "a.loom", COUNTS), str(tmp_path / "x"), spark=spark)
    readers = [process for process in psutil.Process().children(recursive=True) if is_reader(process)]
    assert readers
    for reader in readers:
        reader.parent().kill()
    deadline = time.monotonic() + PATIENCE
    while any(reader.is_running() and reader.status() != psutil.STATUS_ZOMBIE for reader in readers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_reader(process):
    return sum("pyspark.daemon" in parent.cmdline() for parent in process.parents()) == 2
