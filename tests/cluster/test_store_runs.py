"""Whole runs on object stores: every command by URIs, requests that fail, workers and drivers that are killed."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from looms import random_counts, write_loom
from processes import children, frozen, kill_group, python_workers, start, wait_for
from tables import content_anywhere

from median_spark import remove_sources, storage
from median_spark.errors import BusyError
from median_spark.expression import open_table
from median_spark.storage import leases

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SOURCES = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def write_study(path, rng, cells):
    """Write a loom of cells of two tissues."""
    write_loom(path, random_counts(rng, 2_000, cells, 0.2), col_tissue=rng.choice(["liver", "lung"], cells).tolist())


@pytest.fixture(scope="module")
def corpus(place, server):
    """Looms of two depths in a folder, a gene table, and the same in the store; returns the folder."""
    rng = np.random.default_rng(21)
    for number in range(SOURCES):
        path = place / "corpus" / f"lab{number % 2}/study{number}.loom"
        write_study(path, rng, 1_200)
    lines = [f"ENSG{number:011d},protein_coding" for number in range(0, 2_000, 2)]
    (place / "corpus" / "genes.csv").write_text("\n".join(["ensembl_id,gene_type", *lines]) + "\n")
    for path in (place / "corpus").rglob("*.*"):
        storage.write_bytes(f"{server.bucket}/corpus/{path.relative_to(place / 'corpus')}", path.read_bytes())
    return place / "corpus"


@pytest.fixture(scope="module")
def expected(place, corpus):
    """The folder of a run on the local disk."""
    assert command(*arguments(str(corpus), str(place / "local"))).returncode == 0
    return place / "local"


@pytest.fixture(scope="module")
def made(server, corpus):
    """The location of a run in the store, every seventh request of which failed."""
    out = f"{server.bucket}/made"
    server.fail(7)
    ran = command(*arguments(f"{server.bucket}/corpus", out))
    server.fail(0)
    assert ran.returncode == 0, ran.stderr
    assert sum(each["failed"] for each in server.asked()) > 15
    return out


def arguments(corpus, out, *more):
    pickles = ("--digest-pickles", f"{out}-digests")
    by = ("--by", "source,tissue")
    return ("run", corpus, "--gene-table", f"{corpus}/genes.csv", "--out", out, *by, *pickles, *LOCAL, *more)


LOCAL = ("--master", "local[2,4]")


def command(*given):
    return subprocess.run(
        [sys.executable, "-m", "median_spark", *given], capture_output=True, text=True, check=False, timeout=300
    )


def test_the_result_is_that_of_a_local_run_to_the_byte(made, expected):
    assert content_anywhere(f"{made}/medians") == content_anywhere(expected / "medians")
    ours = {file.path.removeprefix(f"{made}-digests"): file.path for file in storage.files_below(f"{made}-digests")}
    assert len(ours) == SOURCES
    for name, location in ours.items():
        assert storage.read_bytes(location) == Path(f"{expected}-digests{name}").read_bytes()


def test_the_values_folder_holds_nothing_but_parquet_and_nothing_is_left_over(made, server):
    keys = [key for key in server.objects() if key.startswith("made/")]
    values = [key for key in keys if key.startswith("made/expression/values/")]
    assert len(values) >= SOURCES
    assert all(key.endswith(".parquet") for key in values)
    assert not [key for key in keys if "unfinished" in key or key.endswith("/stop")]
    assert not [key for key in keys if ("/lock/" in key or "/staging/" in key) and not key.endswith("/")]


def test_a_second_run_changes_nothing_but_the_result(made, server, corpus):
    before = [file for file in storage.files_below(f"{made}/expression") if "/values/" in file.path]
    ran = command(*arguments(f"{server.bucket}/corpus", made))
    assert ran.returncode == 0, ran.stderr
    assert [file for file in storage.files_below(f"{made}/expression") if "/values/" in file.path] == before


class TestCommands:
    def test_verify(self, made):
        ran = command("verify", f"{made}/expression", f"{made}/medians", "--inputs")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "matrices" in ran.stdout

    @pytest.mark.parametrize("what", ["corpus/lab0/study0.loom", "made/expression", "made/medians", "made"])
    def test_inspect(self, made, server, what):
        ran = command("inspect", f"{server.bucket}/{what}")
        assert ran.returncode == 0, ran.stderr
        assert f"{server.bucket}/{what}" in ran.stdout

    def test_report(self, made, expected):
        for compare in (f"{made}/medians", str(expected / "medians" / "medians.csv")):
            ran = command("report", f"{made}/medians", "--compare", compare, "--out", f"{made}/page.html")
            assert ran.returncode == 0, ran.stderr
        assert b"<!doctype html>" in storage.read_bytes(f"{made}/page.html")[:1_000]
        storage.remove(f"{made}/page.html")

    def test_merge(self, made, expected, server, place):
        ours, local = f"{server.bucket}/merged", str(place / f"merged-{server.kind}")
        for digests, out in ((f"{made}-digests", ours), (f"{expected}-digests", local)):
            ran = command("merge", digests, "--out", out)
            assert ran.returncode == 0, ran.stderr
        name = "total_gene_tdigest_dict.pickle"
        assert storage.read_bytes(f"{ours}/{name}") == storage.read_bytes(f"{local}/{name}")
        assert command("merge", f"{made}-digests", "--out", ours).returncode == 2
        assert command("merge", f"{made}-digests", "--out", ours, "--overwrite").returncode == 0

    def test_convert_remove_and_medians(self, server, corpus):
        table, names = f"{server.bucket}/table", [f"lab{number % 2}/study{number}" for number in range(SOURCES)]
        convert = ("convert", f"{server.bucket}/corpus", "--out", table, *LOCAL)
        assert command(*convert).returncode == 0
        assert command("remove", table, *names[2:]).returncode == 0
        assert storage.names_in(f"{table}/values") == [f"source={name.replace('/', '%2F')}" for name in names[:2]]
        ran = command("medians", table, "--out", f"{table}-medians", *LOCAL)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(storage.read_bytes(f"{table}-medians/summary.json"))["sources"] == 2
        assert command("medians", table, "--out", f"{table}-medians", *LOCAL).returncode == 2
        # What was taken out comes in again beside what stayed.
        assert command(*convert).returncode == 0
        assert len(storage.names_in(f"{table}/values")) == SOURCES

    def test_what_cannot_work_says_so(self, server):
        ran = command("demo", "--out", f"{server.bucket}/demo")
        assert ran.returncode == 2
        assert "is written to a local folder" in ran.stderr
        ran = command("inspect", f"{server.bucket}/nothing")
        assert ran.returncode == 2
        assert "there is no such file or folder" in ran.stderr


def test_a_small_source_takes_few_requests(server, place):
    """Also where files are of one size, and so compared with each other."""
    few = place / f"few-{server.kind}"
    for number in range(3):
        counts = random_counts(np.random.default_rng(number), 2_000, 80, 0.2)
        write_loom(few / f"one{number}.loom", counts, storage={"chunks": (64, 64)})
        storage.write_bytes(f"{server.bucket}/few/one{number}.loom", (few / f"one{number}.loom").read_bytes())
    (size,) = {path.stat().st_size for path in few.iterdir()}
    assert size > 600_000
    server.asked()
    ran = command("convert", f"{server.bucket}/few", "--out", f"{server.bucket}/few-table", *LOCAL)
    assert ran.returncode == 0, ran.stderr
    asked = [each["asked"] for each in server.asked()]
    for number in range(3):
        assert sum(f"one{number}.loom" in each for each in asked) <= 8, asked


def test_a_worker_that_is_killed_leaves_no_scratch_file_and_changes_nothing(server, place, corpus):
    large, scratch = place / "large", place / "scratch"
    scratch.mkdir(exist_ok=True)
    # Large enough to be read for seconds: what is small is looked at and converted in no time.
    write_study(large / "study.loom", np.random.default_rng(22), 12_000)
    (large / "genes.csv").write_bytes((corpus / "genes.csv").read_bytes())
    for path in large.iterdir():
        storage.write_bytes(f"{server.bucket}/large/{path.name}", path.read_bytes())
    done = command(*arguments(str(large), str(place / "large-out")))
    assert done.returncode == 0, done.stderr
    out = f"{server.bucket}/killed-worker"
    environment = {**server.environment, "SPARK_LOCAL_DIRS": str(scratch)}
    process = start(*arguments(f"{server.bucket}/large", out), env=environment, stderr=subprocess.PIPE, text=True)
    try:
        found = []
        wait_for(lambda: found.extend(holding_scratch(process.pid, scratch)) or found, process, step=0.05)
        kill(found[0])
        said = process.communicate(timeout=300)[1]
    finally:
        kill_group(process)
    assert process.returncode == 0, said
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    assert content_anywhere(f"{out}/medians") == content_anywhere(place / "large-out" / "medians")


def holding_scratch(pid, scratch):
    """Return the Python workers of a run that read a matrix through scratch space just now, or whose child does."""
    found = []
    for worker in python_workers(pid):
        with suppress(OSError):
            links = [link for process in (worker, *children(worker)) for link in Path(f"/proc/{process}/fd").iterdir()]
            held = [str(link.readlink()) for link in links]
            if any(path.startswith(str(scratch)) and path.endswith("(deleted)") for path in held):
                found.append(worker)
    return found


def kill(pid):
    subprocess.run(["kill", "-KILL", str(pid)], check=False)


def test_a_run_that_is_killed_has_kept_others_out_and_is_resumed(server, corpus, expected, monkeypatch):
    monkeypatch.setattr(leases, "_YOUNG_SECONDS", -1.0)  # refused at once
    out = f"{server.bucket}/killed-driver"
    given = arguments(f"{server.bucket}/corpus", out)
    process = start(*given)
    try:
        wait_for(lambda: storage.names_in(f"{out}/expression/lock"), process, step=0.1)
        holder = rf"'median-spark convert' .process {process.pid} on .* is writing here"
        with frozen(process), pytest.raises(BusyError, match=holder):
            remove_sources(f"{out}/expression", ["lab0/study0"])
        wait_for(lambda: storage.names_in(f"{out}/expression/sources"), process, step=0.1)
    finally:
        kill_group(process)
    table = open_table(f"{out}/expression")
    committed = {record.source: record.parts for record in table.sources()}
    assert committed
    ran = command(*given)
    assert ran.returncode == 0, ran.stderr
    resumed = {record.source: record.parts for record in table.sources()}
    assert {source: resumed[source] for source in committed} == committed
    assert content_anywhere(f"{out}/medians") == content_anywhere(expected / "medians")
