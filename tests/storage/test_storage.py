"""Paths and URIs: one spelling, whole files or none, one writer at a time."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import storage
from median_spark.errors import BusyError, InputError, OutputError, StorageError, UsageError
from median_spark.storage import attempts

OWN = ("new", "old", "sub/old")
"""Files that a published folder may have."""

HOLDER = """
import sys
from median_spark import storage
with storage.locked(sys.argv[1], "the first run"):
    print("held", flush=True)
    sys.stdin.readline()
"""

FILLING = """
import resource, signal, sys
from median_spark import storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    storage.write_bytes(sys.argv[1], bytes(100_000))
except Exception as error:
    print(type(error).__name__, error)
"""


@contextlib.contextmanager
def another_process_holding(folder):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


class TestCanonical:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("//a/b", "/a/b"),
            ("file:/a/b", "/a/b"),
            ("file:///a/b/", "/a/b"),
            ("dbfs:/a/b", "/dbfs/a/b"),
            ("dbfs:///a/b/", "/dbfs/a/b"),
            ("s3a://bucket/key/", "s3://bucket/key"),
            ("s3n://bucket/key", "s3://bucket/key"),
            ("s3://bucket", "s3://bucket"),
            ("hdfs://host:8020/a/", "hdfs://host:8020/a"),
            ("gcs://bucket/a", "gs://bucket/a"),
            ("abfss://container@account.dfs.core.windows.net/a/", "abfss://container@account.dfs.core.windows.net/a"),
            ("s3://bucket/*/study?.loom", "s3://bucket/*/study?.loom"),
            ("s3://bucket/who?me=you.loom", "s3://bucket/who?me=you.loom"),
            ("/Volumes/main/a/", "/Volumes/main/a"),
            ("/a/b c/ü%20.loom", "/a/b c/ü%20.loom"),
        ],
    )
    def test_each_location_has_one_spelling(self, given, expected):
        assert storage.canonical(given) == expected

    def test_a_relative_path_becomes_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert storage.canonical("a/b") == f"{tmp_path}/a/b"

    def test_a_tilde_is_the_home_folder(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/somebody")
        assert storage.canonical("~/a") == "/home/somebody/a"

    def test_a_tilde_that_is_no_home_folder_is_part_of_a_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert storage.canonical("~backup.loom") == f"{tmp_path}/~backup.loom"

    def test_links_are_kept(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        assert storage.canonical(tmp_path / "link") == f"{tmp_path}/link"

    @pytest.mark.parametrize(
        "given",
        [
            "s3://bucket/a?region=eu-west-1",
            "s3://bucket?endpoint_override=localhost:9000&scheme=http",
            "s3a://bucket/a/?x=1&endpoint_override=localhost:9000",
            "gs://bucket/a?anonymous=true",
        ],
    )
    def test_options_in_a_uri_are_refused_with_where_to_set_them(self, given):
        with pytest.raises(UsageError, match=r"carries no options such as '\w+', .*AWS_ENDPOINT_URL"):
            storage.canonical(given)

    def test_keys_in_a_uri_are_refused_and_not_repeated(self):
        with pytest.raises(UsageError, match=r"^s3://…@bucket: a location carries no keys") as refused:
            storage.canonical("s3://AKIA:secret@bucket/a")
        assert "AKIA" not in str(refused.value)
        assert "secret@" not in str(refused.value)

    def test_an_empty_path_is_refused(self):
        with pytest.raises(UsageError, match="empty path"):
            storage.canonical("")

    @given(
        st.sampled_from(["", "/", "//", "file:", "file://", "dbfs:/", "s3a://", "s3://b", "~/"]),
        st.text(alphabet="ab./: %é~", min_size=1),
    )
    def test_the_canonical_spelling_of_a_canonical_spelling_is_itself(self, start, rest):
        once = storage.canonical(start + rest)
        assert storage.canonical(once) == once


class TestResolve:
    def test_an_unknown_scheme_is_refused_by_name(self):
        with pytest.raises(UsageError, match=r"nope://a/b: this location cannot be reached .*nope"):
            storage.resolve("nope://a/b")

    def test_a_name_in_a_uri_stands_for_itself(self, tmp_path):
        storage.write_bytes(f"file://{tmp_path}/a%2Fb ü?", b"1")
        assert below(tmp_path) == ["a%2Fb ü?"]

    def test_names_are_joined_by_one_slash(self):
        assert storage.join("s3://bucket/", "a", "b") == "s3://bucket/a/b"
        assert storage.join("/", "a") == "/a"


class TestLooking:
    def test_kinds(self, tmp_path):
        (tmp_path / "file").touch()
        found = [storage.kind(str(path)) for path in (tmp_path, tmp_path / "file", tmp_path / "none")]
        assert found == ["folder", "file", "nothing"]

    def test_the_stat_of_a_file_is_its_size_and_modification(self, tmp_path):
        file = tmp_path / "file"
        file.write_bytes(b"12345")
        assert storage.stat(str(file)) == storage.FileStat(str(file), 5, file.stat().st_mtime_ns)

    @pytest.mark.parametrize("name", ["", "none"])
    def test_what_is_no_file_has_no_stat(self, tmp_path, name):
        assert storage.stat(str(tmp_path / name)) is None

    def test_names_in_a_folder_ascend_and_are_not_those_below(self, tmp_path):
        for name in ("b", "a/c", ".hidden"):
            storage.write_bytes(f"{tmp_path}/{name}", b"")
        assert storage.names_in(str(tmp_path)) == [".hidden", "a", "b"]

    def test_files_below_are_those_at_any_depth_ascending_by_path(self, tmp_path):
        for name in ("z", "a/b/c", "a.x", "a/b.c"):
            storage.write_bytes(f"{tmp_path}/{name}", b"1")
        (tmp_path / "empty").mkdir()
        found = [file.path for file in storage.files_below(str(tmp_path))]
        assert found == [f"{tmp_path}/{name}" for name in ("a.x", "a/b.c", "a/b/c", "z")]

    def test_files_below_keep_the_spelling_of_the_folder(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "file").touch()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert [file.path for file in storage.files_below(f"{tmp_path}/link/")] == [f"{tmp_path}/link/file"]

    def test_a_folder_that_is_not_there_holds_nothing(self, tmp_path):
        assert storage.names_in(f"{tmp_path}/none") == []
        assert storage.files_below(f"{tmp_path}/none") == []

    def test_a_file_cannot_be_listed_as_a_folder(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"/file: this folder cannot be listed .*Not a directory"):
            storage.files_below(f"{tmp_path}/file")


@pytest.fixture(params=["path", "URI"])
def place(request, tmp_path):
    """A folder as a local path, and as a URI: what is not a plain path goes the way of the object stores."""
    return str(tmp_path) if request.param == "path" else f"file://{tmp_path}"


class TestWrittenWhole:
    def test_what_was_written_is_read(self, place):
        storage.write_bytes(f"{place}/new/folder/file", b"content")
        assert storage.read_bytes(f"{place}/new/folder/file") == b"content"

    def test_json_keeps_the_order_of_its_keys_and_its_letters(self, tmp_path):
        storage.write_json(f"{tmp_path}/file", {"b": "ü", "a": 1})
        assert (tmp_path / "file").read_text(encoding="utf-8") == '{\n "b": "ü",\n "a": 1\n}\n'

    def test_nothing_is_under_the_name_before_the_end(self, place, tmp_path):
        with storage.atomic_write(f"{place}/file") as sink:
            sink.write(b"half")
            sink.flush()
            assert not (tmp_path / "file").exists()
        assert below(tmp_path) == ["file"]

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
    def test_an_exception_leaves_nothing(self, place, tmp_path, failure):
        with pytest.raises(failure), storage.atomic_write(f"{place}/file") as sink:  # noqa: PT012
            sink.write(b"half")
            raise failure
        assert below(tmp_path) == []

    def test_an_exception_leaves_the_old_content(self, place, tmp_path):
        storage.write_bytes(f"{place}/file", b"old")
        with pytest.raises(ZeroDivisionError), storage.atomic_write(f"{place}/file") as sink:
            sink.write(bytes(1 // 0))
        assert (tmp_path / "file").read_bytes() == b"old"
        assert below(tmp_path) == ["file"]

    def test_a_full_disk_is_named_and_leaves_the_old_content(self, tmp_path):
        storage.write_bytes(f"{tmp_path}/file", b"old")
        ran = subprocess.run(
            [sys.executable, "-c", FILLING, f"{tmp_path}/file"], capture_output=True, text=True, check=True
        )
        assert ran.stdout == f"OutputError {tmp_path}/file: this file cannot be written (File too large)\n"
        assert (tmp_path / "file").read_bytes() == b"old"
        assert below(tmp_path) == ["file"]


class TestUnwritable:
    @pytest.fixture(params=["below a file", "/proc"])
    def nowhere(self, request, tmp_path):
        (tmp_path / "file").touch()
        return f"{tmp_path}/file/x" if request.param == "below a file" else "/proc/x"

    def test_a_file_that_cannot_be_written_is_named(self, nowhere):
        with pytest.raises(OutputError, match=rf"^{nowhere}: this file cannot be written \(\w"):
            storage.write_bytes(nowhere, b"")

    def test_a_folder_that_cannot_be_created_is_named(self, nowhere):
        with pytest.raises(OutputError, match=rf"^{nowhere}: this folder cannot be created \(\w"):
            storage.make_folder(nowhere)

    def test_a_folder_that_cannot_be_created_cannot_be_locked(self, nowhere):
        with pytest.raises(OutputError, match=nowhere), storage.locked(nowhere, "run"):
            pass

    def test_a_folder_in_which_no_lock_can_be_made_cannot_be_locked(self):
        with (
            pytest.raises(OutputError, match=r"^/proc: this folder cannot be written to \(\w"),
            storage.locked("/proc", "run"),
        ):
            pass

    def test_a_file_does_not_take_the_place_of_a_folder(self, tmp_path):
        storage.write_bytes(f"{tmp_path}/folder/file", b"")
        with pytest.raises(OutputError, match=r"folder: this file cannot be written \(Is a directory\)"):
            storage.write_bytes(f"{tmp_path}/folder", b"")
        assert below(tmp_path) == ["folder", "folder/file"]


class TestAttempts:
    """What a store fails at for a moment is done again; what it refuses is not."""

    @pytest.fixture(autouse=True)
    def without_waiting(self, monkeypatch):
        monkeypatch.setattr(attempts, "_WAITS", (0.0, 0.0))

    def failing(self, times, error):
        self.calls = 0

        def action():
            self.calls += 1
            if self.calls <= times:
                raise error
            return "done"

        return action

    @pytest.mark.parametrize(
        "said",
        [
            "AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.",
            "AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 28, Timeout was reached",
            "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body.",
            "google::cloud::Status(UNAVAILABLE: connection reset by peer)",
        ],
    )
    def test_trouble_that_passes_is_waited_for(self, said):
        assert attempts.with_retries("s3://b/k", self.failing(2, OSError(said))) == "done"
        assert self.calls == 3
        with pytest.raises(StorageError, match=r"^s3://b/k: this location does not answer .*run this again"):
            attempts.with_retries("s3://b/k", self.failing(3, OSError(said)))

    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (FileNotFoundError("x"), FileNotFoundError),
            (OSError("AWS Error ACCESS_DENIED during HeadObject operation"), PermissionError),
            (OSError("AWS Error NO_SUCH_BUCKET during PutObject operation"), StorageError),
        ],
        ids=["missing", "denied", "no bucket"],
    )
    def test_what_will_not_pass_is_tried_once(self, error, raised):
        with pytest.raises(raised):
            attempts.with_retries("s3://b/k", self.failing(1, error))
        assert self.calls == 1

    def test_on_a_disk_errors_are_its_own(self):
        with pytest.raises(OSError, match="503"):
            attempts.with_retries("/a", self.failing(1, OSError("HTTP status 503")))
        assert self.calls == 1


class TestMoveAndRemove:
    def test_files_are_brought_to_their_final_names(self, place, tmp_path):
        for name in ("a", "b"):
            storage.write_bytes(f"{place}/{name}", name.encode())
        storage.move_all([(f"{place}/a", f"{place}/x/1"), (f"{place}/b", f"{place}/x/2")])
        assert below(tmp_path) == ["x", "x/1", "x/2"]
        assert (tmp_path / "x/2").read_bytes() == b"b"

    def test_a_moved_file_replaces_what_is_there(self, tmp_path):
        storage.write_bytes(f"{tmp_path}/a", b"new")
        storage.write_bytes(f"{tmp_path}/folder/b", b"old")
        storage.move_all([(f"{tmp_path}/a", f"{tmp_path}/folder/b")])
        assert below(tmp_path) == ["folder", "folder/b"]
        assert (tmp_path / "folder/b").read_bytes() == b"new"

    def test_a_file_moves_into_a_folder_that_is_not_there_yet(self, tmp_path):
        storage.write_bytes(f"{tmp_path}/a", b"")
        storage.move_all([(f"{tmp_path}/a", f"{tmp_path}/x/y/a")])
        assert below(tmp_path) == ["x", "x/y", "x/y/a"]

    @pytest.mark.parametrize("name", ["file", "folder", "none"])
    def test_what_is_removed_is_gone_and_nothing_else(self, tmp_path, name):
        for file in ("file", "folder/a/b", "other"):
            storage.write_bytes(f"{tmp_path}/{file}", b"")
        storage.remove(f"{tmp_path}/{name}")
        assert not (tmp_path / name).exists()
        assert (tmp_path / "other").exists()


class TestPublish:
    @pytest.fixture
    def finished(self, tmp_path):
        storage.write_bytes(f"{tmp_path}/finished/new", b"new")
        return str(tmp_path / "finished")

    def test_a_folder_appears_under_its_name(self, place, tmp_path, finished):
        storage.publish(finished, f"{place}/target", OWN)
        assert below(tmp_path) == ["target", "target/new"]

    def test_a_folder_replaces_what_is_its_own_and_keeps_the_rest(self, place, tmp_path, finished):
        kept = ("notes.txt", "sub/deep/notes.txt", ".hidden")
        for name in (*kept, "sub/old", "new"):
            storage.write_bytes(f"{tmp_path}/target/{name}", name.encode())
        storage.publish(finished, f"{place}/target", OWN)
        assert {name for name in below(tmp_path) if (tmp_path / name).is_file()} == {
            "target/new",
            *(f"target/{name}" for name in kept),
        }
        assert all((tmp_path / "target" / name).read_bytes() == name.encode() for name in kept)
        assert (tmp_path / "target/new").read_bytes() == b"new"

    def test_an_uploaded_summary_comes_last(self, tmp_path):
        for name in ("summary.json", "a/b", "z"):
            storage.write_bytes(f"{tmp_path}/finished/{name}", b"")
        storage.publish(f"{tmp_path}/finished", f"file://{tmp_path}/target", OWN)
        modified = {name: (tmp_path / "target" / name).stat().st_mtime_ns for name in ("a/b", "z", "summary.json")}
        assert list(modified.values()) == sorted(modified.values())

    def test_the_old_content_stays_where_the_new_cannot_come(self, tmp_path):
        storage.write_bytes(f"{tmp_path}/target/old", b"old")
        with pytest.raises(FileNotFoundError):
            storage.publish(f"{tmp_path}/never finished", f"{tmp_path}/target", OWN)
        assert below(tmp_path) == ["target", "target/old"]


class TestLocked:
    def test_a_second_holder_in_another_process_is_refused_by_the_name_of_the_first(self, tmp_path):
        with another_process_holding(str(tmp_path)) as process:
            expected = (
                rf"^{tmp_path}: 'the first run' \(process {process.pid} on .*, user .*, since \d{{4}}-.*wait for it"
            )
            with pytest.raises(BusyError, match=expected), storage.locked(str(tmp_path), "the second run"):
                pass

    def test_a_refused_holder_takes_nothing_from_the_first(self, tmp_path):
        with another_process_holding(str(tmp_path)):
            for _ in range(2):
                with pytest.raises(BusyError, match="the first run"), storage.locked(str(tmp_path), "the second run"):
                    pass

    def test_it_is_free_after_its_holder_was_killed(self, tmp_path):
        with another_process_holding(str(tmp_path)) as process:
            process.send_signal(signal.SIGKILL)
            assert process.wait(timeout=10) == -signal.SIGKILL
        assert "the first run" in (tmp_path / "lock").read_text()
        with storage.locked(str(tmp_path), "the second run"):
            assert "the second run" in (tmp_path / "lock").read_text()
            assert "the first run" not in (tmp_path / "lock").read_text()

    def test_it_is_free_after_the_block_even_if_that_failed(self, tmp_path):
        with pytest.raises(KeyError), storage.locked(str(tmp_path), "one"):
            raise KeyError
        with another_process_holding(str(tmp_path)):
            pass

    def test_nobody_is_named_after_the_block(self, tmp_path):
        with storage.locked(str(tmp_path), "one"):
            pass
        assert (tmp_path / "lock").read_text() == ""

    def test_two_folders_have_two_locks(self, tmp_path):
        with another_process_holding(f"{tmp_path}/a"), storage.locked(f"{tmp_path}/b", "other"):
            pass
