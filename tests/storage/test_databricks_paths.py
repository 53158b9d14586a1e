"""How paths are written on Databricks, and disks that are object stores beneath, as its volumes are."""

import os

import pytest

from median_spark import storage
from median_spark.errors import BusyError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("/Volumes/main/default/x", "/Volumes/main/default/x"),
        ("dbfs:/Volumes/main/default/x", "/Volumes/main/default/x"),
        ("dbfs:///Volumes/main/default/x/", "/Volumes/main/default/x"),
        ("dbfs:/corpus/x", "/dbfs/corpus/x"),
        ("dbfs:/VolumesOfMine/x", "/dbfs/VolumesOfMine/x"),
    ],
)
def test_volumes_are_plain_paths(given, meant):
    assert storage.canonical(given) == meant


def test_the_right_to_write_needs_no_appending(tmp_path, monkeypatch):
    opened = []
    real = os.open

    def watched(path, flags, *more, **options):
        opened.append((str(path), flags))
        return real(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", watched)
    with (
        storage.locked(str(tmp_path / "x"), "first"),
        pytest.raises(BusyError, match=r"'first' \(process"),
        storage.locked(str(tmp_path / "x"), "second"),
    ):
        pass
    with storage.locked(str(tmp_path / "x"), "third"):
        assert "'third'" in (tmp_path / "x" / "lock").read_text()
    assert (tmp_path / "x" / "lock").read_text() == ""
    locks = [flags for path, flags in opened if path.endswith("/lock")]
    assert len(locks) == 3
    assert not any(flags & os.O_APPEND for flags in locks)
