"""The entry point that a Databricks wheel task names."""

import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from looms import write_loom

from median_spark import MedianSparkError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def task():
    """What the package's metadata names."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["databricks"]["task"]
    module, name = declared.split(":")
    return getattr(import_module(module), name)


def test_a_command_that_succeeds_returns_nothing(task, monkeypatch, tmp_path, capsys):
    path = write_loom(tmp_path / "s.loom", np.ones((5, 4), int))
    monkeypatch.setattr("sys.argv", ["task", "inspect", path])
    assert task() is None
    assert path in capsys.readouterr().out


def test_a_command_that_fails_raises(task, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["task", "inspect", str(tmp_path / "missing")])
    with pytest.raises(MedianSparkError, match="exit status 2"):
        task()
    assert "there is no such file or folder" in capsys.readouterr().err
