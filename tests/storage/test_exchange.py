"""A folder that is exchanged: links and mount points as targets, and files of others wherever it is killed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from median_spark import storage
from median_spark.errors import OutputError
from median_spark.storage import publishing

OWN = ("summary.json", "medians.parquet", "sub/table")

KILLED = """
import os, sys
from pathlib import Path
from median_spark import storage
target, fatal = sys.argv[1], int(sys.argv[2])
calls = 0
def counting(name, original):
    def call(*arguments, **more):
        global calls
        calls += 1
        if calls > fatal:
            os._exit(9)
        return original(*arguments, **more)
    return call
made = storage.new_folder_for(target)
storage.write_bytes(made + "/summary.json", b"new")
for name in ("rename", "link", "mkdir", "unlink", "rmdir"):
    setattr(os, name, counting(name, getattr(os, name)))
storage.publish(made, target, ["summary.json", "medians.parquet", "sub/table"])
"""


def old_result(target):
    for name in (*OWN, "notes.txt", "sub/notes.txt", "mine/deep/notes.txt"):
        storage.write_bytes(f"{target}/{name}", b"old")


def publish_new(target):
    made = storage.new_folder_for(str(target))
    storage.write_bytes(f"{made}/summary.json", b"new")
    storage.publish(made, str(target), OWN)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


MINE = dict.fromkeys(("notes.txt", "sub/notes.txt", "mine/deep/notes.txt"), b"old")


@pytest.mark.parametrize("fatal", range(24))
def test_wherever_it_is_killed_a_users_files_are_there_after_the_next_run(tmp_path, fatal):
    target = tmp_path / "result"
    old_result(target)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(target), str(fatal)], check=False).returncode
    assert ended in (0, 9)
    publish_new(target)
    assert files(target) == {"summary.json": b"new", **MINE}
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_an_exchange_has_fewer_steps_than_are_tried(tmp_path):
    old_result(tmp_path / "result")
    subprocess.run([sys.executable, "-c", KILLED, f"{tmp_path}/result", "23"], check=True)


def test_links_and_empty_folders_of_a_user_stay_what_they_are(tmp_path):
    target = tmp_path / "result"
    old_result(target)
    (tmp_path / "elsewhere").mkdir()
    (target / "link").symlink_to("../elsewhere")
    (target / "broken").symlink_to("nothing")
    (target / "empty").mkdir()
    publish_new(target)
    assert str((target / "link").readlink()) == "../elsewhere"
    assert str((target / "broken").readlink()) == "nothing"
    assert (target / "empty").is_dir()
    assert files(target) == {"summary.json": b"new", **MINE}


def test_a_disk_without_hard_links_keeps_them_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    old_result(tmp_path / "result")
    publish_new(tmp_path / "result")
    assert files(tmp_path / "result") == {"summary.json": b"new", **MINE}


@pytest.mark.parametrize("held", ["result", "nothing", "empty"])
def test_a_link_as_a_target_stays_and_its_folder_is_exchanged(tmp_path, held):
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real", tmp_path / "result"
    if held == "result":
        old_result(real)
    elif held == "empty":
        real.mkdir()
    link.symlink_to(real)
    storage.check_exchangeable(str(link))
    publish_new(link)
    assert link.is_symlink()
    assert files(real) == {"summary.json": b"new", **(MINE if held == "result" else {})}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "result"]
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real"]


@pytest.mark.parametrize("target", ["/", "/proc", "/dev/shm/", "/proc/../proc"])
def test_a_mount_point_is_refused_before_the_work(target):
    if target == "/dev/shm/" and not os.path.ismount("/dev/shm"):
        pytest.skip("nothing is mounted there")
    with pytest.raises(OutputError, match=r"this is a mount point.*name a folder within it"):
        storage.check_exchangeable(target)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root")
def test_a_folder_of_the_same_disk_that_is_mounted_is_refused(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "real").mkdir()
    code = "import sys; from median_spark import storage; storage.check_exchangeable(sys.argv[1])"
    script = 'mount --bind "$1" "$2" || exit 77; exec "$3" -c "$4" "$2"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", f"{tmp_path}/real", f"{tmp_path}/a b", sys.executable, code],
        check=False,
        capture_output=True,
        text=True,
    )
    if "Traceback" not in ran.stderr and ran.returncode != 0:
        pytest.skip("mounting is not allowed here")
    assert "a b: this is a mount point" in ran.stderr


def test_long_names_have_neighbours_and_none_is_taken_for_anothers(tmp_path):
    names = ["x" * 255, "x" * 254 + "y", "单" * 85, "单" * 84]
    for name in names:
        old_result(tmp_path / name)
    labels = {publishing.neighbour(f"{tmp_path}/{name}").rsplit("/", 1)[1].split(".")[1] for name in names}
    assert len(labels) == len(names)
    for name in names:
        publish_new(tmp_path / name)
        assert files(tmp_path / name) == {"summary.json": b"new", **MINE}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
