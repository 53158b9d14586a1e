"""Completion in the shell: what argcomplete offers, and that it costs nothing otherwise."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from median_spark import cli
from median_spark.cli import complete

SCRIPT = "import sys; from median_spark.cli import main; sys.exit(main())"


@pytest.mark.skipif(find_spec("argcomplete") is None, reason="needs argcomplete")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("median-spark me", {"medians", "merge"}),
        ("median-spark run --on-e", {"--on-error"}),
        ("median-spark run --on-error ", {"fail", "skip"}),
    ],
)
def test_commands_options_and_choices_are_offered(tmp_path, line, offered):
    # The shell hands completions over by file descriptor 8; this asks for a file instead.
    answer = tmp_path / "answer"
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ
        | {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_TYPE": "9",
        },
        check=True,
    )
    assert {word.strip() for word in answer.read_text().split("\x0b")} - {""} == offered


def test_a_shell_that_asks_gets_the_usual_answer_where_it_is_not_installed(monkeypatch, capsys):
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setattr(complete, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0


def test_the_command_line_does_not_import_it():
    code = "import sys, median_spark.cli; sys.exit('argcomplete' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_marker_is_where_argcomplete_looks():
    assert "PYTHON_ARGCOMPLETE_OK" in Path(cli.__file__).read_text()[:1024]
