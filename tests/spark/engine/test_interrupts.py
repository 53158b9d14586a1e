"""Ctrl-C that falls where Python or py4j would lose it."""

import signal
import subprocess
import sys
import time
import weakref

import pytest

from median_spark.spark.engine.interrupts import interrupts_as_such


class Released:
    """An object whose end is noticed, as py4j notices that of an object of the JVM."""


def interrupt_callbacks(times=1, seconds=20.0):
    """Interrupt this process while Python calls back about objects that are gone, where it drops what is raised.

    Then wait for the interrupt.
    """
    for _ in range(times):
        released = Released()
        kept = weakref.ref(released, lambda _: signal.raise_signal(signal.SIGINT))
        del released
        assert kept() is None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_that_python_drops_comes_again(capsys, times):
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupts_as_such():
        interrupt_callbacks(times)
    assert time.monotonic() - began < 10, "it only came when the block ended"
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == (handler, hook)
    assert "ignored" not in capsys.readouterr().err


def test_it_is_raised_where_the_block_ends_before_it_comes_again():
    with pytest.raises(KeyboardInterrupt), interrupts_as_such():
        interrupt_callbacks(seconds=0)


def test_it_comes_once():
    with interrupts_as_such():
        with pytest.raises(KeyboardInterrupt):
            interrupt_callbacks()
        time.sleep(0.1)


def test_other_errors_of_finalizers_are_reported_as_ever():
    program = (
        "import weakref\n"
        "from median_spark.spark.engine.interrupts import interrupts_as_such\n"
        "class Released: pass\n"
        "with interrupts_as_such():\n"
        "    released = Released()\n"
        "    kept = weakref.ref(released, lambda _: 1 // 0)\n"
        "    del released\n"
        "print('done')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "done\n"
    assert "ZeroDivisionError" in ended.stderr


def test_an_error_of_pyspark_on_the_way_becomes_the_interrupt():
    def failing(number, frame):
        raise ConnectionError

    before = signal.signal(signal.SIGINT, failing)
    try:
        with pytest.raises(KeyboardInterrupt), interrupts_as_such():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
