"""What is written in a shared folder goes nowhere else: no planted link, pipe or device is written through."""

import os
import socket
from pathlib import Path

import pytest

from median_spark import storage
from median_spark.errors import OutputError
from median_spark.storage import leases

SECRET = "export PATH=/home/me/bin\n"


@pytest.fixture
def bashrc(tmp_path):
    path = tmp_path / "home" / ".bashrc"
    path.parent.mkdir()
    path.write_text(SECRET)
    return path


PLANTS = {
    "link": lambda path, target: path.symlink_to(target),
    "link to a link": lambda path, target: (
        path.with_name("hop").symlink_to(target),
        path.symlink_to(path.with_name("hop")),
    ),
    "link to nothing": lambda path, target: path.symlink_to(target.with_name("new")),
    "hard link": lambda path, target: path.hardlink_to(target),
    "pipe": lambda path, target: os.mkfifo(path),
    "device": lambda path, target: path.symlink_to("/dev/null"),
    "folder": lambda path, target: path.mkdir(),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_lock_that_is_no_file_of_its_own_is_refused_and_nothing_is_written_through_it(tmp_path, bashrc, plant):
    folder = tmp_path / "shared"
    folder.mkdir()
    PLANTS[plant](folder / "lock", bashrc)
    refused = pytest.raises(OutputError, match=rf"^{folder}/lock: this must be a file of its own.*remove it$")
    with refused, storage.locked(str(folder), "run"):
        pass
    assert bashrc.read_text() == SECRET
    assert [path.name for path in bashrc.parent.iterdir()] == [".bashrc"]


@pytest.mark.parametrize("plant", ["link", "link to nothing", "hard link", "pipe"])
def test_a_file_takes_the_place_of_what_was_planted_under_its_name(tmp_path, bashrc, plant):
    path = tmp_path / "shared" / "summary.json"
    path.parent.mkdir()
    PLANTS[plant](path, bashrc)
    storage.write_bytes(str(path), b"new")
    assert bashrc.read_text() == SECRET
    assert [found.name for found in bashrc.parent.iterdir()] == [".bashrc"]
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("plant", ["link", "link to nothing", "hard link", "pipe"])
def test_a_temporary_name_that_was_guessed_is_not_written_through(tmp_path, bashrc, plant, monkeypatch):
    class Guessed:
        hex = "0123456789ab"

    monkeypatch.setattr("uuid.uuid4", Guessed)
    PLANTS[plant](tmp_path / "file.0123456789ab.tmp", bashrc)
    with pytest.raises(OutputError, match=r"file: this file cannot be written \(File exists\)"):
        storage.write_bytes(f"{tmp_path}/file", b"new")
    assert bashrc.read_text() == SECRET
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("depth", ["", "below/deeper/"])
def test_of_a_link_that_is_removed_what_it_leads_to_stays(tmp_path, bashrc, depth):
    folder = tmp_path / "shared" / depth
    folder.mkdir(parents=True)
    (folder / "home").symlink_to(bashrc.parent)
    (folder / "file").symlink_to(bashrc)
    storage.remove(f"{tmp_path}/shared/{depth}home".rstrip("/"))
    storage.remove(f"{tmp_path}/shared")
    assert not (tmp_path / "shared").exists()
    assert bashrc.read_text() == SECRET


@pytest.mark.parametrize("name", ["a/b", "../../etc", "", "host\nname", "\udcff", "ü" * 80, "x" * 300, "*[?]", " - . "])
def test_a_hosts_name_may_be_anything(tmp_path, name, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert leases.host_name().isascii()
    target = f"{tmp_path}/[result]"
    with storage.locked(target, "run"):
        assert leases.host_name() in Path(f"{target}/lock").read_text()
    made = storage.new_folder_for(target)
    storage.write_bytes(f"{made}/new", b"new")
    storage.publish(made, target, ["new", "lock"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["[result]"]
    assert [path.name for path in Path(target).iterdir()] == ["new"]


def test_a_host_whose_name_is_not_told_has_one_nonetheless(monkeypatch):
    def fail():
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(socket, "gethostname", fail)
    assert leases.host_name() == "unnamed-host"
