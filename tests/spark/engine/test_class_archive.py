"""The archive of the classes that Spark's JVM loads: when there is one, how it is made, and that it is never needed."""

import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyspark
import pytest
from looms import random_counts, write_loom

from median_spark.spark.engine import class_archive as module
from median_spark.spark.engine.class_archive import SWITCH, ClassArchive, class_archive
from median_spark.spark.engine.java import usable_java

OWN = Path(pyspark.__file__).parent
JAVA = usable_java()


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Return a cache folder, in an environment that says nothing of Java's and Spark's classes."""
    for name in (*module._OPTIONS_OF_JAVA, *module._OTHER_CLASSES, "SPARK_CONF_DIR", SWITCH):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SPARK_HOME", str(OWN))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(environment):
    found = class_archive(JAVA)
    assert found is not None
    return found


def foreign_spark(folder, jar=b""):
    (folder / "jars").mkdir(parents=True)
    (folder / "jars" / "spark.jar").write_bytes(jar)
    return str(folder)


def unfinished(options):
    """Return the file into which a JVM with these options writes an archive."""
    return Path(options.split('"')[1].removeprefix("-XX:ArchiveClassesAtExit="))


class TestWhichArchive:
    def test_lies_in_the_user_s_cache_folder(self, archive, environment):
        assert archive.path.is_relative_to(environment / "median_spark")

    @pytest.mark.parametrize("named", ["", "relative"])
    def test_lies_below_home_where_no_cache_folder_is_named(self, monkeypatch, tmp_path, named):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert class_archive(JAVA).path.is_relative_to(tmp_path / "home" / ".cache" / "median_spark")

    def test_is_another_one_for_another_java_and_another_spark(self, archive, monkeypatch, tmp_path):
        paths = {archive.path, class_archive(replace(JAVA, version=JAVA.version.replace("17", "18"))).path}
        paths.add(class_archive(replace(JAVA, path="/opt/java/bin/java")).path)
        for number, jar in enumerate((b"1", b"22")):
            monkeypatch.setenv("SPARK_HOME", foreign_spark(tmp_path / f"spark {number}", jar))
            paths.add(class_archive(JAVA).path)
        assert len(paths) == 5

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (SWITCH, "off"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g -Xshare:off"),
            ("JDK_JAVA_OPTIONS", "-XX:SharedArchiveFile=mine.jsa"),
            ("SPARK_SUBMIT_OPTS", "-XX:+AutoCreateSharedArchive"),
            ("PYSPARK_SUBMIT_ARGS", "--jars mine.jar pyspark-shell"),
            ("HADOOP_CONF_DIR", "/etc/hadoop"),
        ],
    )
    def test_is_none_where_a_user_s_settings_concern_classes(self, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        assert class_archive(JAVA) is None

    def test_is_there_with_options_of_java_that_concern_other_things(self, archive, monkeypatch):
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1g")
        java = usable_java()
        assert "-Xmx1g" in java.version
        assert class_archive(java) == archive

    def test_is_none_where_spark_has_a_folder_of_settings(self, monkeypatch, tmp_path):
        monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))  # it would be part of the class path
        (tmp_path / "spark-defaults.conf").touch()
        assert class_archive(JAVA) is None

    def test_is_none_where_java_shares_no_classes(self):
        assert class_archive(replace(JAVA, version=JAVA.version.replace(", sharing", ""))) is None

    @pytest.mark.parametrize("name", ["a:b", 'a"b', "a\\b"])
    def test_is_none_where_its_path_cannot_be_told_to_a_jvm(self, monkeypatch, tmp_path, name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        assert class_archive(JAVA) is None


class TestMaking:
    def made(self, archive, content=b"classes"):
        with archive.making() as options:
            unfinished(options).write_bytes(content)

    def test_leaves_the_archive_for_this_user_alone(self, archive):
        assert archive.options() == ""
        self.made(archive)
        assert archive.path.read_bytes() == b"classes"
        assert stat.S_IMODE(archive.path.parent.stat().st_mode) == 0o700
        assert f'"-XX:SharedArchiveFile={archive.path}"' in archive.options()

    def test_is_done_once(self, archive):
        self.made(archive)
        with archive.making() as options:
            assert options is None

    def test_is_done_by_one_process_at_a_time(self, archive):
        with archive.making() as ours, archive.making() as theirs:
            assert ours is not None
            assert theirs is None

    def test_that_fails_leaves_nothing(self, archive):
        with pytest.raises(OSError, match="full"), archive.making() as options:  # noqa: PT012
            unfinished(options).write_bytes(b"cla")
            raise OSError(28, "full")
        assert [file.suffix for file in archive.path.parent.iterdir()] == [".lock"]

    def test_that_writes_nothing_leaves_no_archive(self, archive):
        with archive.making():
            pass
        assert not archive.path.exists()

    def test_removes_what_a_killed_one_left_and_what_was_long_unused(self, archive):
        archive.path.parent.mkdir(parents=True)
        killed, unused, other = (archive.path.parent / name for name in (f"{archive.path.stem}.1", "a.jsa", "b.jsa"))
        for file in (killed, unused, other):
            file.touch()
        os.utime(unused, (0, time.time() - 40 * 24 * 3600))
        self.made(archive)
        assert [file.exists() for file in (killed, unused, other)] == [False, False, True]

    def test_is_left_where_there_can_be_no_folder(self, tmp_path):
        (tmp_path / "file").touch()
        archive = ClassArchive(tmp_path / "file" / "a.jsa")
        with archive.making() as options:
            assert options is None
        assert archive.options() == ""

    def test_is_left_where_others_may_write_and_such_an_archive_is_not_used(self, archive):
        self.made(archive)
        archive.path.parent.chmod(0o777)
        assert archive.options() == ""
        archive.path.unlink()
        with archive.making() as options:
            assert options is None


class TestMakingLater:
    @pytest.fixture
    def started(self, monkeypatch):
        """Return the list of processes that were started."""
        started = []
        monkeypatch.setattr(subprocess, "Popen", lambda arguments, **_: started.append(arguments))
        return started

    def test_is_tried_once_a_day(self, archive, started):
        archive.make_later()
        archive.make_later()
        assert len(started) == 1
        os.utime(archive.path.with_suffix(".lock"), (0, time.time() - 25 * 3600))
        archive.make_later()
        assert len(started) == 2

    def test_is_left_where_there_is_an_archive_or_no_folder(self, archive, started, tmp_path):
        archive.path.parent.mkdir(parents=True, mode=0o700)
        archive.path.touch()
        archive.make_later()
        (tmp_path / "file").touch()
        ClassArchive(tmp_path / "file" / "a.jsa").make_later()
        assert started == []

    def test_is_no_error_where_no_process_can_be_started(self, archive, monkeypatch):
        def refuse(*_, **__):
            raise BlockingIOError(11, "no more processes")

        monkeypatch.setattr(subprocess, "Popen", refuse)
        archive.make_later()
        assert not archive.path.exists()


class TestADamagedArchive:
    """The JVM itself: a small program of Spark's, with an archive of its classes."""

    def run(self, *options):
        program = ["-cp", f"{OWN}/jars/*", "org.apache.spark.launcher.Main", "org.apache.spark.deploy.SparkSubmit", "x"]
        environment = os.environ | {"SPARK_SCALA_VERSION": "2.13"}
        command = [JAVA.path, *options, *program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert "SparkSubmit" in done.stdout
        return done.stdout + done.stderr

    @pytest.fixture
    def made(self, archive):
        with archive.making() as options:
            self.run(*options.replace('"', "").split())
        assert archive.path.stat().st_size > 100_000
        return archive

    def options(self, archive):
        return archive.options().replace('"', "").split()

    def test_is_one_that_was_used(self, made, tmp_path):
        log = tmp_path / "log"
        self.run(*self.options(made), f"-Xlog:class+load:file={log}")
        assert log.read_text().count("shared objects file (top)") > 10

    @pytest.mark.parametrize("damage", ["truncated", "empty", "zeros", "text", "flipped"])
    def test_is_not_used(self, made, damage):
        content = bytearray(made.path.read_bytes())
        if damage == "truncated":
            del content[len(content) // 2 :]
        elif damage == "empty":
            content.clear()
        elif damage == "zeros":
            content[:] = bytes(len(content))
        elif damage == "text":
            content[:] = b"no archive\n" * 10_000
        else:
            for place in range(1 << 16, len(content), 1 << 14):
                content[place] ^= 0xFF
        undamaged = self.run()
        made.path.unlink()
        made.path.write_bytes(content)
        assert self.run(*self.options(made)) == undamaged
        assert made.path.exists() == (damage in {"zeros", "flipped"})  # one of another size is made again


@pytest.mark.slow
@pytest.mark.spark
def test_first_run_has_an_archive_made_that_the_next_one_uses(archive, tmp_path):
    write_loom(tmp_path / "corpus" / "study.loom", random_counts(np.random.default_rng(3), 30, 20))
    log = tmp_path / "log"

    def run(**variables):
        command = [sys.executable, "-m", "median_spark", "run", "corpus", "--out", "result"]
        environment = os.environ | variables | {"PYTHONPATH": str(Path(__file__).parents[3])}
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)

    run()
    until = time.monotonic() + 600
    while not archive.path.exists() and time.monotonic() < until:
        time.sleep(1)
    run(JAVA_TOOL_OPTIONS=f"-Xlog:class+load:file={log}")
    assert log.read_text().count("shared objects file (top)") > 3_000
