"""Standard output and error that break, are closed or full, or have a poor encoding: the work is done all the same."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom
from rich.console import Console

from median_spark.display import TolerantStream, printable
from median_spark.errors import InputError, MedianSparkError, TableError
from median_spark.progress import ConvertState, PlainLines, TerminalBar
from median_spark.verification.outcome import Verification

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
HOSTILE = "\x1b[2J\x1b]0;title\x07\r\x08\x9b31m\u202egnp.\u2066\u200b\u2028\x85\n"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def shell(script, *arguments, cwd=None, **variables):
    """Run the command line as "$@" in a shell script, which may redirect it; return what bash says of it."""
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "median_spark", *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | variables,
    )


SERVE = """
import gc, os, socket, sys
import numba
from median_spark.cli import main
gc.collect()
gc.freeze()     # else each fork copies all pages of what it looks through when it ends
calls = socket.socket(fileno=int(sys.argv[1]))
while True:
    call, streams, *_ = socket.recv_fds(calls, 1 << 16, 2)
    if not call:
        sys.exit()
    if os.fork() == 0:
        break
    for stream in streams:
        os.close(stream)
    calls.send(bytes([os.waitstatus_to_exitcode(os.wait()[1])]))
calls.close()
for number, name in enumerate(("stdout", "stderr"), 1):
    os.dup2(streams[number - 1], number)
    os.close(streams[number - 1])
    setattr(sys, name, open(number, "w"))
sys.exit(main(call.decode("utf-8", "surrogateescape").split("\\0")))
"""


@pytest.fixture(scope="module")
def command():
    """Run the command line in a fork of one process that has imported it, and that ends as any interpreter does.

    For tests of what becomes of output; those that need an interpreter to start with odd streams use `shell`.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        ours,
        theirs,
        subprocess.Popen([sys.executable, "-c", SERVE, str(theirs.fileno())], pass_fds=[theirs.fileno()]),
    ):
        theirs.close()

        def call(*arguments, output=None, errors=None):
            """Return the status, output and errors; either goes to another file if one is given."""
            with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
                text = "\0".join(map(str, arguments)).encode("utf-8", "surrogateescape")
                socket.send_fds(ours, [text], [(output or said).fileno(), (errors or complained).fileno()])
                (status,) = ours.recv(1)
                return status, os.pread(said.fileno(), 1 << 20, 0), os.pread(complained.fileno(), 1 << 20, 0)

        yield call
        ours.close()


@contextlib.contextmanager
def without_reader():
    """Yield the writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        yield pipe


@pytest.fixture(scope="module")
def loom(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "study.loom"
    write_loom(path, random_counts(np.random.default_rng(3), 30, 20))
    return path


CLOSED = {
    "output closed": '"$@" >&-',
    "errors closed": '"$@" 2>&-',
    "all closed": '"$@" <&- >&- 2>&-',
}
BROKEN = ("reader of output gone", "reader of both gone", "reader of errors gone", "errors full")


def broken(how, command, *arguments):
    """Run the command line with streams that break; return the status, and what it says of it."""
    with without_reader() as gone, FULL.open("wb") as full:
        output = gone if how in {"reader of output gone", "reader of both gone"} else None
        errors = gone if how in {"reader of errors gone", "reader of both gone"} else None
        return command(*arguments, output=output, errors=full if how == "errors full" else errors)


@pytest.mark.slow
@needs_full
class TestABrokenOutput:
    @pytest.mark.parametrize("how", BROKEN)
    def test_leaves_the_status_of_work_that_is_done(self, loom, command, how):
        status, _, errors = broken(how, command, "inspect", loom)
        assert (status, errors) == (0, b"")

    @pytest.mark.parametrize("closed", CLOSED)
    def test_leaves_the_status_of_work_that_is_done_also_if_it_is_closed(self, loom, tmp_path, closed):
        done = shell(CLOSED[closed], "inspect", loom, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.parametrize("arguments", [["inspect", "nowhere.loom"], ["fly"]])
    @pytest.mark.parametrize("how", ["reader of both gone", "errors full"])
    def test_leaves_the_status_of_what_fails(self, command, how, arguments):
        assert broken(how, command, *arguments)[0] == 2

    @pytest.mark.parametrize("arguments", [["inspect", "nowhere.loom"], pytest.param(["fly"], marks=pytest.mark.slow)])
    def test_leaves_the_status_of_what_fails_also_if_all_is_closed(self, tmp_path, arguments):
        assert shell(CLOSED["all closed"], *arguments, cwd=tmp_path).returncode == 2

    def test_leaves_the_status_of_help(self, command):
        status, _, errors = broken("reader of output gone", command, "run", "--help")
        assert (status, errors) == (0, b"")


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("arguments", [["inspect", "{loom}"], ["demo", "--out", "{tmp}/demo"], ["--help"]])
def test_a_full_disk_beneath_standard_output_is_said_and_what_was_made_stays(loom, tmp_path, command, arguments):
    with FULL.open("wb") as full:
        status, _, errors = command(*(each.format(loom=loom, tmp=tmp_path) for each in arguments), output=full)
    assert status == 2
    said = errors.decode().splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: standard output cannot be written (No space left on device)")
    if arguments[0] == "demo":
        assert said[0].endswith(f"; the work is done: see {tmp_path}/demo")
        assert len(list((tmp_path / "demo").rglob("*.loom"))) == 5


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize("script", ['"$@" 2>&1 | true; exit ${PIPESTATUS[0]}', CLOSED["all closed"]])
def test_a_run_whose_output_nobody_reads_is_done(loom, tmp_path, script):
    arguments = ["run", loom, "--out", tmp_path / "out", "--master", "local[1]"]
    done = shell(script, *arguments, cwd=tmp_path, **ASCII)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "medians" / "medians.csv").exists()
    assert not list(tmp_path.glob("spark-warehouse"))


@pytest.mark.slow
class TestAPoorEncoding:
    def test_shows_what_it_lacks_as_an_escape(self, loom, tmp_path):
        texts = ("größe", "× … – ÷", "基因", "🧬")
        path = shutil.copy(loom, tmp_path)
        with h5py.File(path, "r+") as file:
            for text in texts:
                file.create_dataset(f"layers/{text}", data=np.zeros(file["matrix"].shape))
        done = shell('"$@" 2>&1', "inspect", path, **ASCII)
        assert done.returncode == 0, done.stdout
        for text in texts:
            assert text.encode("ascii", "backslashreplace") in done.stdout

    def test_stops_no_help(self):
        assert shell('"$@"', "run", "--help", **ASCII).returncode == 0

    @pytest.mark.parametrize("name", [b"caf\xe9.loom", b"\x1b[31m\xff\n.loom"])
    def test_neither_does_a_file_name_that_is_not_utf_8(self, tmp_path, name):
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
        Path(os.fsdecode(path)).write_bytes(b"no HDF5")
        done = shell('"$@" 2>&1', "inspect", os.fsdecode(path))
        assert done.returncode == 2
        assert b"Traceback" not in done.stdout
        assert is_harmless(done.stdout.decode())


def is_harmless(text):
    return all(line.isprintable() for line in text.removesuffix("\n").split("\n"))


class TestTextsOfAFile:
    @given(st.text(st.characters()))
    def test_hold_nothing_that_a_terminal_obeys(self, text):
        shown = printable(text)
        assert shown.isprintable()
        assert printable(shown) == shown
        assert not text.isprintable() or shown == text

    @given(st.text(st.characters()), st.sampled_from([MedianSparkError, InputError, TableError]))
    def test_are_shown_in_errors_on_one_line(self, text, kind):
        assert str(kind(f"{text}: heading")) == printable(f"{text}: heading")
        assert str(kind("heading:", text)) == f"heading:\n{printable(text)}"

    @given(st.text(st.characters()))
    def test_are_shown_in_differences_on_one_line(self, text):
        done = Verification()
        done.check(text, "median", 1, 2)
        assert is_harmless(done.text())
        assert len(done.text().split("\n")) == 2

    @pytest.mark.parametrize("renamed", ["row_attrs/ensembl_id", "col_attrs/n_counts"])
    def test_are_shown_by_commands_as_escapes(self, loom, tmp_path, command, renamed):
        path = shutil.copy(loom, tmp_path)
        with h5py.File(path, "r+") as file:
            file.move(renamed, f"{renamed.split('/')[0]}/{HOSTILE}")
            file.create_dataset(f"layers/{HOSTILE}", data=np.zeros(file["matrix"].shape))
        status, output, errors = command("inspect", path)
        assert status in (0, 2)
        said = (output + errors).decode()
        assert "\\x1b[2J" in said
        assert is_harmless(said)

    def test_are_shown_in_tracebacks_and_usage_errors_as_escapes(self, tmp_path, command):
        for arguments in (["inspect", tmp_path / HOSTILE, "--debug"], ["demo", "--out", "x", HOSTILE]):
            status, _, errors = command(*arguments)
            assert status != 0
            assert "\\x1b[2J" in errors.decode()
            assert is_harmless(errors.decode())

    @pytest.mark.parametrize("terminal", [False, True])
    def test_are_shown_by_progress_as_escapes(self, tmp_path, terminal):
        path = tmp_path / "said"
        with path.open("w") as stream:
            console = Console(file=stream, force_terminal=terminal, color_system=None, width=200)
            progress = TerminalBar(console) if terminal else PlainLines(stream)
            progress.note(HOSTILE)
            with progress.working(f"[bold]{HOSTILE}"):
                progress.note(HOSTILE)
        said = path.read_text()
        assert "\\x1b[2J\\x1b]0;title\\x07\\r" in said
        assert "[bold]" in said
        assert not [sign for sign in ("\x1b[2J", "\x1b]0;", "\x07", "\x9b", "\u202e", "\u2028") if sign in said]


@needs_full
@pytest.mark.parametrize("terminal", [False, True])
def test_progress_that_cannot_be_shown_stops_nothing(terminal):
    with FULL.open("w", buffering=1) as stream:
        try:
            console = Console(file=TolerantStream(stream), force_terminal=terminal)
            progress = TerminalBar(console) if terminal else PlainLines(stream)
            progress.note("starting")
            with progress.working("working"):
                progress.convert_state(ConvertState(1, 1, 10, 10, 100))
            progress.note("done")
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
