"""Guarded calls: what they return, and why they fail, whatever the function does."""

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from processes import PATIENCE

from median_spark.errors import InputError, OutputError, UsageError
from median_spark.guard import Guard, Kept, Limits, LostError, beat, calls, compiling, read_guarded

CALLS = ("forked", "executed")
each_call = pytest.mark.parametrize("guard", CALLS, indirect=True)
"""Marks what is tried with both kinds of children in the quick tests, too."""

QUICK = Limits(processor_seconds=1, waiting_seconds=60.0)


@pytest.fixture(params=["forked", pytest.param("executed", marks=pytest.mark.slow)])
def guard(request, monkeypatch):
    """A guard whose children are forks, and one whose children are new interpreters."""
    monkeypatch.setattr(calls, "_forks_allowed", request.param == "forked")
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])
    guard = Guard()
    monkeypatch.setattr(calls, "_guard_of", lambda pid: guard)
    yield guard
    guard.close()


def double(values):
    return values * 2


def fail(error):
    raise error


def kill_itself(number):
    os.kill(os.getpid(), number)


def read_nowhere():
    ctypes.string_at(0)


def loop():
    while True:
        pass


def allocate(step):
    held = []
    while True:
        held.append(np.ones(step, dtype=np.uint8))
        beat()


def work_for(seconds):
    """Use more processor time than a call may without progress, but make progress."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        beat()
    return "done"


def unpicklable():
    return mmap.mmap(-1, 1)


class OddError(Exception):
    """An error that cannot be restored from its arguments."""

    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


def odd():
    raise OddError(1, 2)


@each_call
def test_calls_return_what_the_function_returns_from_one_child(guard):
    assert guard.call(double, np.arange(5)).tolist() == [0, 2, 4, 6, 8]
    child = guard.call(os.getpid)
    assert child != os.getpid()
    assert guard.call(os.getpid) == child


@each_call
def test_a_child_has_the_environment_of_the_moment(guard, monkeypatch):
    monkeypatch.setenv("MEDIAN_SPARK_TRIED", "before")
    assert guard.call(os.getenv, "MEDIAN_SPARK_TRIED") == "before"
    monkeypatch.setenv("MEDIAN_SPARK_TRIED", "after")
    assert guard.call(os.getenv, "MEDIAN_SPARK_TRIED") == "after"
    monkeypatch.delenv("MEDIAN_SPARK_TRIED")
    assert guard.call(os.getenv, "MEDIAN_SPARK_TRIED") is None


@each_call
def test_a_long_answer_crosses_whole(guard):
    assert np.array_equal(guard.call(double, np.arange(3_000_000)), 2 * np.arange(3_000_000))


@each_call
@pytest.mark.parametrize("error", [InputError("a.loom: it is damaged"), OutputError("b: the disk is full")])
def test_errors_of_this_package_stay_as_they_are(guard, error):
    child = guard.call(os.getpid)
    with pytest.raises(type(error), match=f"^{error}$"):
        read_guarded("c.loom", fail, error)
    assert guard.call(os.getpid) == child


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyError("y"), RuntimeError(""), RecursionError("deep"), SystemError("null"), AssertionError(),
     SystemExit(3), KeyboardInterrupt(), GeneratorExit(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
     ZeroDivisionError("0"), BufferError("b"), EOFError(), ConnectionResetError("reset"), StopIteration()],
)  # fmt: skip
def test_an_error_of_any_other_class_is_one_of_the_file(guard, error):
    with pytest.raises(InputError, match=rf"^a\.loom: Unexpected error .*{type(error).__name__}"):
        read_guarded("a.loom", fail, error)
    assert guard.call(double, 2) == 4


@pytest.mark.parametrize("function", [unpicklable, odd])
def test_what_cannot_cross_is_an_error_of_the_file(guard, function):
    with pytest.raises(InputError, match=r"^a\.loom: Unexpected error"):
        read_guarded("a.loom", function)
    assert guard.call(double, 2) == 4


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL])
def test_a_child_that_crashes_is_an_error_of_the_file(guard, number):
    with pytest.raises(InputError, match=rf"^a\.loom: the process that read it was ended by {number.name}"):
        read_guarded("a.loom", kill_itself, number)
    assert guard.call(double, 2) == 4


@each_call
def test_a_real_crash_is_an_error_of_the_file(guard):
    with pytest.raises(InputError, match="SIGSEGV"):
        read_guarded("a.loom", read_nowhere)


def test_a_child_that_is_killed_for_want_of_memory_is_tried_again(guard, tmp_path):
    with pytest.raises(LostError, match="SIGKILL, most likely because memory ran out"):
        guard.call(kill_itself, signal.SIGKILL)
    assert guard.call(kill_once, str(tmp_path / "mark")) == "second"


def kill_once(mark):
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return "second"
    os.kill(os.getpid(), signal.SIGKILL)
    return None


@each_call
def test_a_child_that_exits_is_an_error_of_the_file(guard):
    with pytest.raises(InputError, match=r"^a\.loom: the process that read it ended with status 7"):
        read_guarded("a.loom", os._exit, 7)


@each_call
def test_an_endless_loop_ends_after_its_processor_time(guard):
    slow = []
    with pytest.raises(InputError, match=r"^a\.loom: .* more than 1 s of processor time without progress"):
        read_guarded("a.loom", loop, limits=QUICK, on_slow=lambda: slow.append(1))
    assert slow == [1]
    assert guard.call(double, 2) == 4


def compile_for(seconds):
    compiling(begins=True)
    time.sleep(seconds)
    compiling(begins=False)


@each_call
def test_a_call_that_compiles_is_not_slow(guard, monkeypatch):
    monkeypatch.setattr(calls, "_POLL_SECONDS", 0.1)
    guard.call(double, 1)  # to start a child takes time, too
    slow = []
    guard.call(compile_for, 1.5, limits=QUICK, on_slow=lambda: slow.append(1))
    assert slow == []
    guard.call(time.sleep, 1.5, limits=QUICK, on_slow=lambda: slow.append(1))
    assert slow == [1]


def test_processor_time_counts_from_the_last_progress(guard):
    assert guard.call(work_for, 2.5, limits=QUICK) == "done"


def beat_for(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        beat()


def test_a_time_that_is_being_written_is_never_seen_as_none(guard):
    """Seen as 0, it would be no progress since the machine was started."""
    guard.call(double, 1)
    least = began = time.monotonic()
    with ThreadPoolExecutor(1) as caller:
        done = caller.submit(guard.call, beat_for, 0.5, limits=QUICK)
        while not done.done():
            least = min(least, guard._progress.last)
    assert done.result() is None
    assert least > began - PATIENCE


def test_waiting_for_ever_ends_too(guard):
    with pytest.raises(InputError, match=r"^a\.loom: reading it made no progress for 0\.5 s"):
        read_guarded("a.loom", time.sleep, 10 * PATIENCE, limits=Limits(waiting_seconds=0.5))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that a process holds")
@pytest.mark.parametrize("step", [1 << 16, 1 << 24, 1 << 28])
def test_memory_is_limited(guard, step):
    limits = Limits(memory=400 << 20)
    with pytest.raises(InputError, match=r"^a\.loom: reading it needs more than 0\.391 GiB of memory"):
        read_guarded("a.loom", allocate, step, limits=limits)
    assert len(guard.call(np.ones, 10 << 20, limits=limits)) == 10 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that a process holds")
def test_what_earlier_calls_have_left_is_not_counted(guard):
    """A reader that has imported numba holds 300 MB more, and must still read a pickle that may take 400."""
    guard.call(keep, 60 << 20)
    assert len(guard.call(np.ones, 10 << 20, limits=Limits(memory=400 << 20))) == 10 << 20


def keep(numbers):
    kept.append(np.ones(numbers))


kept = []


def test_limits_are_those_of_each_call(guard):
    with pytest.raises(LostError, match="more than 1 s"):
        guard.call(loop, limits=Limits(processor_seconds=1))
    assert guard.call(burn, 1.5, limits=Limits(processor_seconds=30)) == "done"


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "done"


@pytest.mark.parametrize("wrong", [{"processor_seconds": 0}, {"waiting_seconds": 0.0}, {"memory": -1}])
def test_limits_are_above_zero(wrong):
    with pytest.raises(UsageError, match="above 0"):
        Limits(**wrong)


def test_threads_take_turns(guard):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(guard.call(double, n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [2 * n for n in range(20)]


@each_call
def test_a_child_holds_none_of_the_files_of_its_parent(guard, tmp_path):
    with (tmp_path / "open").open("w") as held:
        found = guard.call(targets)
        assert held.name not in found


def targets():
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(str(link.readlink()))
    return found


@pytest.mark.parametrize("how", CALLS)
def test_a_child_ends_with_its_parent_however_that_ends(tmp_path, how):
    program = f"""
import os, signal, threading
from median_spark.guard import Guard, calls
calls._forks_allowed = {how == "forked"}
guard = Guard()
print(guard.call(os.getpid), flush=True)
os.mkfifo("at work")
busy = "import time; open('at work', 'w').close(); time.sleep({PATIENCE})"
threading.Thread(target=guard.call, args=(exec, busy), daemon=True).start()
open("at work").close()  # waits for the child to open it, too
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    child, deadline = Path("/proc") / done.stdout.strip(), time.monotonic() + PATIENCE
    while child.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def remember(value):
    return id(value), value


@each_call
def test_a_kept_argument_is_unpickled_once_by_each_child(guard):
    many, other = Kept.of(list(range(100_000))), Kept.of({"another": 1})
    first, value = guard.call(remember, many)
    assert value == list(range(100_000))
    assert guard.call(remember, many) == (first, value)
    assert guard.call(remember, other)[1] == {"another": 1}
    assert guard.call(remember, many)[1] == value
    with pytest.raises(LostError):
        guard.call(kill_itself, signal.SIGSEGV)
    assert guard.call(remember, many)[1] == value
