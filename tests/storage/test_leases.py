"""The only right to write where there are no locks: claims, their renewal, their end."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from median_spark import storage
from median_spark.errors import BusyError
from median_spark.storage import leases

HOLDER = """
import sys
from median_spark import storage
with storage.locked(sys.argv[1], "the first run"):
    print("held", flush=True)
    sys.stdin.readline()
"""

IN_TURN = """
import sys, time
from pathlib import Path
from median_spark import storage
from median_spark.errors import BusyError
inside, done = Path(sys.argv[2]), 0
deadline = time.monotonic() + 6
while time.monotonic() < deadline:
    try:
        with storage.locked(sys.argv[1], "one of many"):
            inside.mkdir()          # fails if another is inside
            time.sleep(0.02)
            inside.rmdir()
            done += 1
    except BusyError:
        time.sleep(0.01)
print(done)
"""


@pytest.fixture
def far(tmp_path):
    return f"file://{tmp_path}/table"


def claims(tmp_path):
    return sorted((tmp_path / "table" / "lock").glob("*.json"))


def start(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def claim_of_another_machine(tmp_path, seconds_ago):
    """Leave the claim of a run that is not visible here."""
    folder = tmp_path / "table" / "lock"
    folder.mkdir(parents=True)
    claim = folder / "other.json"
    claim.write_text(json.dumps({"holder": "'a run' (process 7 on elsewhere)", "process": {"host": "elsewhere"}}))
    then = time.time() - seconds_ago
    os.utime(claim, (then, then))
    return claim


def test_a_second_holder_is_refused_by_the_name_of_the_first_and_takes_nothing_from_it(far, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_YOUNG_SECONDS", -1.0)
    process = start(far)
    try:
        for _ in range(2):
            expected = rf"^{far}: 'the first run' \(process {process.pid} on .* last heartbeat \d+ s ago; wait"
            with pytest.raises(BusyError, match=expected), storage.locked(far, "the second run"):
                pass
        assert len(claims(tmp_path)) == 1
    finally:
        end(process)


def test_it_is_free_at_once_when_its_holder_on_this_machine_was_killed(far, tmp_path):
    end(start(far))
    assert len(claims(tmp_path)) == 1
    with storage.locked(far, "the second run") as right:
        right.require()
        assert len(claims(tmp_path)) == 1
        assert "the second run" in claims(tmp_path)[0].read_text()
    assert claims(tmp_path) == []


def test_it_is_free_after_the_block_even_if_that_failed(far, tmp_path):
    with pytest.raises(KeyError), storage.locked(far, "one"):
        raise KeyError
    assert claims(tmp_path) == []


def test_the_claim_of_another_machine_holds_while_it_is_renewed_and_for_five_minutes(far, tmp_path):
    claim = claim_of_another_machine(tmp_path, 200)
    with pytest.raises(BusyError, match=r"process 7 on elsewhere\) is writing here; last heartbeat 20\d s ago"):
        storage.locked(far, "this").__enter__()
    assert claims(tmp_path) == [claim]
    claim.unlink()
    claim.parent.rmdir()
    claim_of_another_machine(tmp_path, 400)
    with storage.locked(far, "this"):
        assert "this" in claims(tmp_path)[0].read_text()


def test_a_claim_that_cannot_be_read_is_one(far, tmp_path):
    claim_of_another_machine(tmp_path, 100).write_text("{")
    os.utime(claims(tmp_path)[0], (time.time() - 100,) * 2)
    with pytest.raises(BusyError, match="another run is writing here"), storage.locked(far, "this"):
        pass


def test_it_is_renewed_while_the_block_runs(far, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_RENEWED_SECONDS", 0.05)
    with storage.locked(far, "this") as right:
        first = claims(tmp_path)[0].stat().st_mtime_ns
        wait_for(lambda: claims(tmp_path)[0].stat().st_mtime_ns > first)
        right.require()


def test_a_holder_whose_claim_was_deleted_is_told_and_does_not_bring_it_back(far, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_RENEWED_SECONDS", 0.05)
    with storage.locked(far, "this") as right:
        claims(tmp_path)[0].unlink()
        wait_for(lambda: is_lost(right))
        wait_for(lambda: not any("lease" in thread.name for thread in threading.enumerate()))  # nothing renews it
        assert claims(tmp_path) == []
        with pytest.raises(BusyError, match=r"the right to write here was lost .its claim was deleted.*it resumes"):
            right.require()


def test_a_holder_that_could_not_renew_its_claim_in_time_has_lost_it(far, monkeypatch):
    with storage.locked(far, "this") as right:
        right.require()
        monkeypatch.setattr(leases, "_LOST_SECONDS", -1.0)
        with pytest.raises(BusyError, match="it could not be renewed for 0 seconds"):
            right.require()


@pytest.mark.slow
def test_of_many_at_once_never_two_are_inside(far, tmp_path):
    command = [sys.executable, "-c", IN_TURN, far, str(tmp_path / "inside")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    done = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sum(map(int, done)) > 0


def wait_for(what):
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_lost(right):
    try:
        right.require()
    except BusyError:
        return True
    return False


def test_a_local_right_is_never_lost(tmp_path):
    with storage.locked(str(tmp_path), "this") as right:
        assert right.require() is None
    assert Path(tmp_path / "lock").is_file()
