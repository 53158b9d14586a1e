"""Storage on object stores: whole files, listings, renames that are none, and requests that fail now and then."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from looms import random_counts, write_loom

from median_spark import storage
from median_spark.errors import BusyError, InputError, OutputError, StorageError, UsageError
from median_spark.matrices import AttributeNames, open_matrix
from median_spark.storage import attempts, buckets, filesystems, leases, writing

pytestmark = pytest.mark.cluster

HOLDER = """
import sys
from median_spark import storage
with storage.locked(sys.argv[1], "the first run"):
    print("held", flush=True)
    sys.stdin.readline()
"""

UPLOADING = """
import sys
from median_spark import storage
storage.write_bytes(sys.argv[1] + "/small", b"1")
print("ready", flush=True)
storage.write_bytes(sys.argv[1] + "/large", bytes(100 << 20))
"""

FORKING = """
import os, sys
from median_spark import storage
storage.write_bytes(sys.argv[1] + "/parent", b"1")
child = os.fork()
if child == 0:
    assert storage.read_bytes(sys.argv[1] + "/parent") == b"1"
    storage.write_bytes(sys.argv[1] + "/child", b"2")
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert storage.read_bytes(sys.argv[1] + "/child") == b"2"
kept = storage.resolve(sys.argv[1])[0]      # alive at the end, as what a caller keeps
"""


FORKING_IN_VAIN = """
import os, sys
from median_spark import storage
storage.write_bytes(sys.argv[1] + "/parent", b"1")
child = os.fork()
if child == 0:
    try:
        storage.read_bytes(sys.argv[1] + "/parent")
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert storage.read_bytes(sys.argv[1] + "/parent") == b"1"
"""


def only(*kinds):
    """Run a test on stores of some kinds."""
    chosen = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in kinds]
    return pytest.mark.parametrize("server", chosen, indirect=True, scope="module")


@pytest.fixture
def folder(server, request):
    """A folder of the bucket that no other test uses."""
    server.asked()
    yield f"{server.bucket}/{request.node.name.split('[')[0]}"
    server.fail(0)


@pytest.fixture
def impatient(monkeypatch):
    """Give up soon: wait for nothing, and let the client beneath try but twice, or for a second."""
    monkeypatch.setattr(attempts, "_WAITS", ())
    monkeypatch.setattr(filesystems, "_ATTEMPTS", 2)
    monkeypatch.setattr(filesystems, "_GOOGLE_RETRIES", timedelta(seconds=1))
    monkeypatch.setattr(buckets, "_RETRIES", {"max_retries": 1})
    monkeypatch.setattr(filesystems, "_FILESYSTEMS", filesystems._Filesystems())  # with clients of its own


def below(folder):
    return [file.path[len(folder) + 1 :] for file in storage.files_below(folder)]


class TestFiles:
    def test_what_was_written_is_read_and_looked_at(self, folder):
        storage.write_bytes(f"{folder}/a/file", b"content")
        assert storage.read_bytes(f"{folder}/a/file") == b"content"
        assert storage.stat(f"{folder}/a/file").size == 7
        kinds = [storage.kind(location) for location in (f"{folder}/a/file", f"{folder}/a", f"{folder}/none")]
        assert kinds == ["file", "folder", "nothing"]
        assert storage.names_in(folder) == ["a"]
        assert storage.stat(folder) is storage.stat(f"{folder}/none") is None

    @pytest.mark.parametrize("name", ["source=a%2Fb", "with space", "ü+&=?#", "100%"])
    def test_a_name_stands_for_itself(self, folder, server, name):
        location = f"{folder}/{name}/part.parquet"
        storage.write_bytes(location, b"1")
        assert f"{location.removeprefix(server.bucket)[1:]}" in server.objects()
        assert storage.names_in(folder).count(name) == 1
        assert f"{name}/part.parquet" in below(folder)
        storage.move_all([(location, f"{folder}/{name}/copy")])
        assert storage.read_bytes(f"{folder}/{name}/copy") == b"1"
        storage.remove(f"{folder}/{name}")
        assert storage.kind(f"{folder}/{name}") == "nothing"

    def test_a_look_and_a_listing_tell_the_same(self, folder):
        storage.write_bytes(f"{folder}/file", b"1")
        assert storage.files_below(folder) == [storage.stat(f"{folder}/file")]

    def test_writing_leaves_nothing_but_files(self, folder, server):
        storage.write_bytes(f"{folder}/a/b/file", b"1")
        storage.make_folder(f"{folder}/c")
        held = [key for key in server.objects() if key.startswith(folder.removeprefix(server.bucket)[1:])]
        assert [key.rsplit("/", 3)[1:] for key in held] == [["a", "b", "file"]]

    def test_thousands_of_keys_are_all_listed(self, folder):
        names = [f"source={number % 7}/part-{number:05d}" for number in range(2_100)]
        with ThreadPoolExecutor(8) as writers:
            list(writers.map(lambda name: storage.write_bytes(f"{folder}/{name}", b""), names))
        assert below(folder) == sorted(names)
        assert storage.names_in(folder) == [f"source={number}" for number in range(7)]
        assert len(storage.names_in(f"{folder}/source=3")) == 300
        storage.remove(folder)
        assert below(folder) == []

    @pytest.mark.usefixtures("impatient")
    def test_what_is_not_there_is_said(self, folder, server):
        with pytest.raises(FileNotFoundError):
            storage.read_bytes(f"{folder}/none")
        assert storage.names_in(f"{folder}/none") == []
        storage.remove(f"{folder}/none")
        with pytest.raises((OutputError, StorageError), match="no-such-bucket"):
            storage.write_bytes(f"{server.bucket.replace(server.name, 'no-such-bucket-here')}/file", b"1")

    def test_a_location_without_a_bucket_is_refused(self, server):
        with pytest.raises(UsageError, match=r"needs a bucket|is like abfs://container@account"):
            storage.kind(f"{server.kind}://")


class TestUploads:
    def test_a_large_file_goes_up_in_parts(self, folder, server):
        content = np.random.default_rng(0).bytes(25 << 20)
        with storage.atomic_write(f"{folder}/file") as sink:
            for start in range(0, len(content), 1 << 20):
                sink.write(content[start : start + (1 << 20)])
        assert sum(server.part_request in each["asked"] for each in server.asked()) >= 2
        assert storage.read_bytes(f"{folder}/file") == content

    def test_parts_that_fail_now_and_then_are_sent_again(self, folder, server, monkeypatch):
        monkeypatch.setattr(writing, "_SLICE_BYTES", 20 << 20)
        content = np.random.default_rng(0).bytes(45 << 20)
        server.fail(3)
        storage.write_bytes(f"{folder}/file", content)
        server.fail(0)
        assert any(each["failed"] for each in server.asked())
        assert storage.read_bytes(f"{folder}/file") == content

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
    def test_an_exception_publishes_nothing_and_leaves_the_old_content(self, folder, failure):
        storage.write_bytes(f"{folder}/old", b"old")
        for name in ("old", "new"):
            with pytest.raises(failure), storage.atomic_write(f"{folder}/{name}") as sink:  # noqa: PT012
                sink.write(bytes(12 << 20))
                raise failure
        assert below(folder) == ["old"]
        assert storage.read_bytes(f"{folder}/old") == b"old"

    @pytest.mark.usefixtures("impatient")
    def test_an_upload_of_which_parts_fail_for_good_publishes_nothing(self, folder, server):
        storage.write_bytes(f"{folder}/file", b"old")
        server.fail(1, only=server.last_part_request)
        with pytest.raises(StorageError, match=r"does not answer as it should .*run this again"):
            storage.write_bytes(f"{folder}/file", bytes(25 << 20))
        server.fail(0)
        writing._ABANDONED.clear()  # what letting go of a failed stream does
        assert storage.read_bytes(f"{folder}/file") == b"old"

    @pytest.mark.parametrize("wait", [0.0, 0.1, 0.3])
    def test_an_interrupted_upload_is_whole_or_not_there(self, folder, server, wait):
        process = subprocess.Popen(
            [sys.executable, "-c", UPLOADING, folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=server.environment,
        )
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 0 or "KeyboardInterrupt" in said
        found = storage.stat(f"{folder}/large")
        assert found is None or found.size == 100 << 20
        storage.remove(f"{folder}/large")


class TestTroubles:
    def test_every_kind_of_request_may_fail_now_and_then(self, folder, server):
        server.fail(3)
        for number in range(5):
            storage.write_bytes(f"{folder}/a/{number}", str(number).encode())
        assert [storage.read_bytes(f"{folder}/a/{number}") for number in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        storage.move_all([(f"{folder}/a/{number}", f"{folder}/b/{number}") for number in range(5)])
        storage.move_all([(f"{folder}/a/0", f"{folder}/c")])
        storage.remove(f"{folder}/a")
        assert below(folder) == ["b/0", "b/1", "b/2", "b/3", "b/4", "c"]
        server.fail(0)
        failed = {each["asked"].split(" ")[0] for each in server.asked() if each["failed"]}
        assert "GET" in failed
        assert failed & {"PUT", "POST"}

    @pytest.mark.usefixtures("impatient")
    def test_a_store_that_goes_on_failing_is_named(self, folder, server):
        server.fail(1)
        with pytest.raises(StorageError, match=f"{folder}: this location does not .*{server.endpoint_variable}"):
            storage.names_in(folder)

    @pytest.mark.usefixtures("impatient")
    def test_an_endpoint_where_nobody_listens_is_named(self, server, monkeypatch):
        monkeypatch.setenv(server.endpoint_variable, "http://127.0.0.1:1")
        with pytest.raises(StorageError, match=f"{server.bucket}/file: this location does not answer"):
            storage.stat(f"{server.bucket}/file")

    def test_an_endpoint_that_is_none_is_refused(self, server, monkeypatch):
        monkeypatch.setenv(server.endpoint_variable, "ftp://x")
        message = f"{server.endpoint_variable} is 'ftp://x'; it must be like https://host:port"
        with pytest.raises(UsageError, match=message):
            storage.stat(f"{server.bucket}/file")


OWN = ("summary.json", "medians.parquet", "old", "a/b")
"""Files that earlier results may have had."""


class TestPublish:
    @pytest.fixture
    def finished(self, tmp_path):
        for name in ("summary.json", "a/b", "new"):
            storage.write_bytes(f"{tmp_path}/finished/{name}", b"new")
        (tmp_path / "finished" / "empty").touch()
        return str(tmp_path / "finished")

    def test_a_result_replaces_the_old_one_keeps_what_is_not_its_own_and_is_shown_last(self, folder, server, finished):
        for name in ("summary.json", "old", "a/b", "notes.txt", "a/mine"):
            storage.write_bytes(f"{folder}/{name}", b"old")
        server.asked()
        storage.publish(finished, folder, OWN)
        assert below(folder) == ["a/b", "a/mine", "empty", "new", "notes.txt", "summary.json"]
        assert {storage.read_bytes(f"{folder}/{name}") for name in ("a/mine", "notes.txt")} == {b"old"}
        assert {storage.read_bytes(f"{folder}/{name}") for name in ("a/b", "new", "summary.json")} == {b"new"}
        changes = [
            (what, key.rsplit("/", 1)[1])
            for what, key in server.changes(server.asked())
            if "/lock/" not in key and not key.endswith("/")  # but for the markers of folders
        ]
        order = [("write", "unfinished"), ("delete", "summary.json"), ("write", "b"), ("write", "summary.json")]
        places = [changes.index(change) for change in order]
        assert places == sorted(places)
        assert changes.index(("delete", "old")) < places[-1] < changes.index(("delete", "unfinished"))

    def test_one_that_was_broken_off_is_no_result_and_may_be_taken_over(self, folder, finished, monkeypatch):
        from median_spark.results import check_result_target, read_summary
        from median_spark.storage import publishing

        for name in ("summary.json", "medians.parquet"):
            storage.write_bytes(f"{folder}/{name}", b"{}")
        monkeypatch.setattr(publishing, "_upload_file", lambda file, location: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            storage.publish(finished, folder, OWN)
        with pytest.raises(Exception, match="this is no result folder"):
            read_summary(folder)
        check_result_target(folder, overwrite=False)
        monkeypatch.undo()

    def test_another_run_that_publishes_there_is_kept_out(self, folder, finished):
        with storage.locked(folder, "another run"), pytest.raises(BusyError, match="another run"):
            storage.publish(finished, folder, OWN)


class TestLeases:
    def test_a_second_holder_is_refused_and_a_killed_one_is_not_waited_for(self, folder, server, monkeypatch):
        monkeypatch.setattr(leases, "_YOUNG_SECONDS", -1.0)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=server.environment,
        )
        try:
            assert process.stdout.readline() == "held\n"
            with (
                pytest.raises(BusyError, match=rf"'the first run' \(process {process.pid} on"),
                storage.locked(folder, "x"),
            ):
                pass
        finally:
            process.kill()
            process.communicate()
        with storage.locked(folder, "x") as right:
            right.require()
        assert below(folder) == []


class TestScratch:
    def test_few_bytes_of_a_large_file_are_had_by_few_requests(self, folder, server, tmp_path):
        path = tmp_path / "x.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "long", data=np.random.default_rng(0).integers(0, 1 << 60, 8_000_000), chunks=(1 << 17,)
            )
            file.create_dataset("short", data=np.arange(1_000))
        storage.write_bytes(f"{folder}/x.h5", path.read_bytes())
        server.asked()
        with storage.open_random(f"{folder}/x.h5") as stream, h5py.File(stream, "r") as file:
            assert file["short"][-1] == 999
        ranges = ranges_of(server.asked())
        assert len(ranges) <= 6
        assert sum(ranges) < 0.15 * path.stat().st_size

    def test_a_loom_reads_the_same_from_there_while_requests_fail(self, folder, server, tmp_path):
        path = write_loom(tmp_path / "s.loom", random_counts(np.random.default_rng(0), 3_000, 900, density=0.2))
        storage.write_bytes(f"{folder}/s.loom", (tmp_path / "s.loom").read_bytes())
        server.asked()
        server.fail(3)
        found = []
        for location in (path, f"{folder}/s.loom"):
            with open_matrix(location, AttributeNames()) as matrix:
                entries = matrix.entries(np.arange(3_000), 100, 700, np.ones(600, dtype=np.bool_))
                found.append((matrix.gene_ids(), matrix.n_counts(), entries.lengths, entries.cells, entries.counts))
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one, other)
        ranges = ranges_of(server.asked())
        assert sum(ranges) < 2 * (tmp_path / "s.loom").stat().st_size

    def test_a_file_that_is_not_there_is_named(self, folder):
        with pytest.raises(InputError, match=f"{folder}/none.loom: there is no such file"):
            open_matrix(f"{folder}/none.loom", AttributeNames())


def ranges_of(asked):
    """Return the lengths of the ranges that were asked for and given."""
    bounds = [each["range"].removeprefix("bytes=").split("-") for each in asked if each["range"] and not each["failed"]]
    return [int(last) - int(first) + 1 for first, last in bounds]


@only("s3", "gs")
def test_a_process_that_has_used_it_and_forked_ends_well(folder, server):
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, folder],
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@only("abfs")
def test_a_fork_of_a_process_that_has_used_azure_is_told_so(folder, server):
    ran = subprocess.run(
        [sys.executable, "-c", FORKING_IN_VAIN, folder],
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"{folder}/parent: this location cannot be reached (this process is a fork" in ran.stdout


def test_other_readers_open_what_was_written(folder, server):
    for number in range(3):
        with storage.atomic_write(f"{folder}/values/source={number}%2Fx/part.parquet") as sink:
            pq.write_table(pa.table({"value": [float(number)]}), sink)
    filesystem, path = storage.resolve(f"{folder}/values")
    table = ds.dataset(path, filesystem=filesystem, partitioning="hive").to_table()
    assert sorted(zip(table["source"].to_pylist(), table["value"].to_pylist(), strict=True)) == [
        ("0/x", 0.0),
        ("1/x", 1.0),
        ("2/x", 2.0),
    ]


def test_polars_opens_the_folder_by_its_bare_location_also_after_a_removal(folder, server):
    import polars as pl

    for number in range(3):
        with storage.atomic_write(f"{folder}/values/source={number}%2Fx/part.parquet") as sink:
            pq.write_table(pa.table({"value": [float(number)]}), sink)
    storage.remove(f"{folder}/values/source=1%2Fx")
    found = pl.scan_parquet(
        f"{folder}/values/", storage_options=server.polars_options(), hive_partitioning=True
    ).collect()
    assert sorted(found["value"].to_list()) == [0.0, 2.0]
