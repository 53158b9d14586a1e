"""The whole of the library and of the command line through a Spark Connect server, as against local mode."""

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from connect_server import clean_environment, connect_server, free_port, remote_session
from looms import random_counts, write_loom
from processes import SUPPORT
from tables import stored_records

from median_spark import (
    ConvertOptions,
    MedianOptions,
    MedianSparkError,
    ReadOptions,
    ResultOptions,
    convert,
    gene_medians,
    medians,
    merge,
    read_gene_table,
    run,
    spark_session,
    table_medians,
    verify,
    write_report,
)
from median_spark.errors import EngineError, InputError, TableError
from median_spark.expression import SweepPlan, open_table
from median_spark.spark.engine.tasks import collect, merge_by_gene, run_tasks

pytestmark = [pytest.mark.cluster, pytest.mark.connect]

WINDOW = 60_000
"""Rows of a window with which the demo corpus falls into several bundles."""

LOCAL = (sys.executable, "-m", "median_spark")
IN_WINDOWS = (sys.executable, str(SUPPORT / "in_windows.py"), str(WINDOW))

TELL_OF_THE_RUN = {"provenance.json", "sources.parquet", "report.html", "metrics.parquet", "metrics.csv"}
"""Files of a result that hold times and places."""


@pytest.fixture(scope="module")
def server(connect):
    return connect


@pytest.fixture(scope="module")
def remote(server):
    with remote_session(server.url) as session:
        yield session


@pytest.fixture(scope="module")
def options(demo):
    return ReadOptions(gene_table=read_gene_table(str(demo / "gene_info_table.csv")))


@pytest.fixture(scope="module")
def local(demo, tmp_path_factory):
    """The folder of a run in local mode, with a result in several bundles beside it."""
    out = tmp_path_factory.mktemp("local") / "run"
    table = ["--gene-table", str(demo / "gene_info_table.csv"), "--master", "local[2]", "--quiet"]
    more = ["--by", "source,tissue", "--digest-pickles", str(out.parent / "pickles")]
    finish(LOCAL, "run", demo, "--out", out, *table, *more)
    finish(IN_WINDOWS, "medians", out / "expression", "--out", out.parent / "windows", *table)
    return out


@pytest.fixture(scope="module")
def done(remote, demo, options, tmp_path_factory):
    """The same run through the server, and its result in several bundles."""
    out = tmp_path_factory.mktemp("remote") / "run"
    run(
        str(demo),
        str(out),
        spark=remote,
        reading=options,
        outputs=ResultOptions(by=("source", "tissue"), digest_pickles=str(out.parent / "pickles")),
    )
    medians(
        str(out / "expression"),
        str(out.parent / "windows"),
        spark=remote,
        options=MedianOptions(window_rows=WINDOW),
        outputs=ResultOptions(gene_table=options.gene_table),
    )
    return out


def finish(program, *arguments, **environment):
    command = [*program, *map(str, arguments)]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**clean_environment(), **environment}
    )


def contents(folder):
    """Return every file of a result that must not change: tables without what their metadata tell, others whole."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name not in TELL_OF_THE_RUN:
            table = path.suffix == ".parquet"
            name = str(path.relative_to(folder))
            found[name] = pq.read_table(path).replace_schema_metadata(None) if table else path.read_bytes()
    return found


def test_a_run_yields_the_files_of_local_mode(local, done):
    for result in ("run/medians", "windows", "pickles"):
        expected, found = contents(local.parent / result), contents(done.parent / result)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
    assert {"medians.csv", "by_group.parquet", "total_gene_tdigest_dict.pickle"} <= contents(local / "medians").keys()


def test_the_expression_tables_hold_the_same_rows(local, done):
    for record in open_table(str(local / "expression")).sources():
        tables = [pq.read_table(f"{out}/expression/values/source={folder(record.source)}") for out in (local, done)]
        assert tables[0].num_rows == record.values
        assert tables[0].equals(tables[1])
        cells = [pq.read_table(f"{out}/expression/cells/source={folder(record.source)}") for out in (local, done)]
        assert cells[0].num_rows == record.cells_passed
        assert cells[0].equals(cells[1])


def folder(source):
    return source.replace("/", "%2F")


def test_medians_come_back_as_a_table(remote, done):
    written = pq.read_table(done / "medians" / "medians.parquet").replace_schema_metadata(None)
    found = table_medians(str(done / "expression"), spark=remote)
    assert found.table.replace_schema_metadata(None) == written
    estimated = table_medians(str(done / "expression"), spark=remote, options=MedianOptions(exact=False)).table
    assert estimated["median"] == written["digest_median"]
    assert estimated["median"] != written["median"]


def test_medians_of_a_frame_are_those_of_the_table(remote, done):
    frame = remote.read.parquet(str(done / "expression" / "values"))
    found = {row["gene"]: (row["median"], row["n_cells"]) for row in gene_medians(frame).collect()}
    written = pq.read_table(done / "medians" / "medians.parquet").to_pylist()
    assert found == {row["gene"]: (row["median"], row["n_cells"]) for row in written if row["n_cells"]}


def test_what_needs_no_spark_takes_what_the_server_wrote(done, tmp_path):
    summary = merge([str(done / "medians")], str(tmp_path / "merged"))
    assert summary.values == sum(record.values for record in open_table(str(done / "expression")).sources())
    assert verify(str(done / "expression"), str(done / "medians"), inputs=True).differences == []
    page = write_report(str(done / "medians"), str(tmp_path / "page.html"), compare=[str(tmp_path / "merged")])
    assert "<html" in Path(page).read_text()
    pickled = pickle.loads((done / "medians" / "detected_gene_median_dict.pickle").read_bytes())
    assert len(pickled) == summary.genes_detected


def test_the_command_line_finds_the_server_and_leaves_it_running(server, remote, demo, local, tmp_path):
    table = ["--gene-table", demo / "gene_info_table.csv"]
    finish(LOCAL, "convert", demo, "--out", tmp_path / "x", *table, "--master", server.url)
    finish(LOCAL, "medians", tmp_path / "x", "--out", tmp_path / "r", *table, "--quiet", SPARK_REMOTE=server.url)
    expected, found = contents(local / "medians"), contents(tmp_path / "r")
    assert found["medians.csv"] == expected["medians.csv"]
    assert found["digests.parquet"] == expected["digests.parquet"]
    assert remote.range(5).count() == 5


@pytest.mark.parametrize("address", ["sc://127.0.0.1:{port}", "sc://127.0.0.1:{port}/;user_id=me"])
def test_an_address_where_nobody_listens_is_told_at_once(demo, tmp_path, address):
    named = address.format(port=free_port())
    command = [*LOCAL, "convert", demo, "--out", tmp_path / "x", "--master", named]
    ended = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"error: {named}: no Spark Connect server answers at port")


@pytest.mark.parametrize("thread", ["this", "another"])
def test_a_session_that_is_there_is_used_and_not_stopped(remote, thread):
    def used():
        with spark_session("sc://127.0.0.1:9") as found:
            return found

    with ThreadPoolExecutor(1) as others:
        assert (used() if thread == "this" else others.submit(used).result()) is remote
    assert remote.range(5).count() == 5


def test_a_platforms_session_is_not_stopped(server):
    """Databricks' own is shared with whatever else runs in its driver."""
    program = "\n".join(
        [
            "from median_spark import spark_session",
            "with spark_session() as spark:",
            "    pass",
            "print(spark.range(7).count())",
        ]
    )
    ended = finish((sys.executable, "-c", program), SPARK_REMOTE=server.url, DATABRICKS_RUNTIME_VERSION="17.3")
    assert ended.stdout.split() == ["7"]


def test_a_matrix_that_cannot_be_read_is_named(remote, tmp_path):
    counts = random_counts(np.random.default_rng(1), 60, 50)
    good = write_loom(tmp_path / "in" / "good.loom", counts)
    bad = write_loom(tmp_path / "in" / "bad.loom", counts, n_counts=None, col_nCount_RNA=counts.sum(axis=0))
    half = Path(write_loom(tmp_path / "in" / "half.loom", counts))
    half.write_bytes(half.read_bytes()[:900])
    with pytest.raises(InputError) as refused:
        convert(str(tmp_path / "in"), str(tmp_path / "x"), spark=remote)
    lines = str(refused.value).splitlines()
    assert lines[0] == "2 sources cannot be converted:"
    assert lines[1].startswith(f"  {bad}: column attribute 'n_counts' is missing")
    assert lines[2].startswith(f"  {half}: ")
    report = convert(str(tmp_path / "in"), str(tmp_path / "x"), spark=remote, options=ConvertOptions(on_error="skip"))
    assert [record.input.path for record in report.records] == [good]
    assert [failure.source for failure in report.failures] == ["bad", "half"]


def test_a_part_that_is_gone_is_named(remote, tmp_path):
    path = write_loom(tmp_path / "s.loom", random_counts(np.random.default_rng(2), 60, 50))
    convert(path, str(tmp_path / "x"), spark=remote)
    part = next((tmp_path / "x" / "values").rglob("*.parquet"))
    part.unlink()
    with pytest.raises(TableError, match=str(part)):
        table_medians(str(tmp_path / "x"), spark=remote)


def test_what_a_worker_raises_comes_back_in_one_line(remote):
    schema = pa.schema([("number", pa.int64())])

    def task(number):
        if number == 2:
            message = "two is too much"
            raise ArithmeticError(message)
        yield pa.RecordBatch.from_pydict({"number": [number]})

    with pytest.raises(EngineError) as failed:
        collect(run_tasks(remote, 3, schema, task), schema, "counting")
    assert str(failed.value) == "counting: the Spark job failed: ArithmeticError: two is too much"


BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "median_spark":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Missing())
"""
"""Of a server's Python, makes one in which the package is not installed."""


def test_a_server_whose_workers_lack_the_package_is_told_so(demo, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BARE)
    with connect_server(tmp_path, PYTHONPATH=str(tmp_path)) as bare:
        command = [*LOCAL, "convert", demo, "--out", tmp_path / "x", "--master", bare.url]
        ended = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(
        "error: looking at the sources: the Spark job failed: ModuleNotFoundError: No module named 'median_spark': "
        "the Python of Spark's workers lacks it"
    )


def test_an_interrupted_command_ends_and_the_next_one_resumes(server, remote, tmp_path):
    rng = np.random.default_rng(11)
    for number in range(10):
        write_loom(tmp_path / "in" / f"study{number}.loom", random_counts(rng, 2_000, 1_000, density=0.15))
    out, committed = tmp_path / "out", tmp_path / "out" / "expression" / "sources"
    # With skip, small sources are committed while others are looked at.
    command = [*LOCAL, "run", tmp_path / "in", "--out", out, "--on-error", "skip", "--master", server.url]
    process = subprocess.Popen(
        command,
        env=clean_environment(),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores interrupts, and so does what that starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not list(committed.glob("*.jsonl")):
            assert process.poll() is None, "it ended before it could be interrupted"
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 130, said
    assert "Interrupted. Finished sources are kept; run the same command to resume." in said.splitlines()
    kept = {path.name: path.stat().st_mtime_ns for path in committed.glob("*.jsonl")}
    assert 0 < len(stored_records(out / "expression")) < 10
    run(str(tmp_path / "in"), str(out), spark=remote)
    assert {name: (committed / name).stat().st_mtime_ns for name in kept} == kept
    assert len(stored_records(out / "expression")) == 10


@pytest.fixture(scope="module")
def large_plan():
    """A plan of 30,000 parts and 60,000 genes, as a corpus of 390 billion values has; none of its parts is there."""
    parts, groups, genes = 30_000, 26, 60_000
    rng = np.random.default_rng(0)
    first = np.sort(rng.integers(0, genes, (parts, groups)), axis=1).ravel()
    folders = [f"/volumes/corpus/values/source=database{number // 90}%2Fstudy{number // 3}" for number in range(parts)]
    zeros = np.zeros(1, dtype=np.int64)
    return SweepPlan(
        genes=np.array([f"ENSG{number:011d}" for number in range(genes)]),
        parts=tuple(f"{path}/part-{number % 3:05d}-{number:08x}.parquet" for number, path in enumerate(folders)),
        source_of_part=np.arange(parts, dtype=np.int32) // 3,
        groups_of_part=np.arange(parts + 1) * groups,
        number=np.tile(np.arange(groups), parts),
        rows=rng.integers(400_000, 500_000, parts * groups),
        first_gene=first,
        last_gene=first + 10,
        parts_of_bundle=np.array([0, parts]),
        bundle_of_sweep=zeros,
        begin=zeros,
        end=zeros + genes,
    )


def test_a_plan_of_thirty_thousand_parts_reaches_the_workers(remote, large_plan):
    def task(number):
        parts = int(large_plan.groups_of_part[-1])
        yield pa.RecordBatch.from_pydict({"gene": [str(large_plan.genes[number])], "row_groups": [parts]})

    def combine(batches):
        for batch in batches:
            yield batch.append_column("parts", pa.array([len(large_plan.parts)] * batch.num_rows, pa.int64()))

    schema = pa.schema([("gene", pa.string()), ("row_groups", pa.int64())])
    frame = run_tasks(remote, 4, schema, task)
    schema = schema.append(pa.field("parts", pa.int64()))
    frame = merge_by_gene(frame, 1, ("gene",), combine, schema)
    rows = sorted(collect(frame, schema, "planning").to_pylist(), key=lambda row: row["gene"])
    assert [row["gene"] for row in rows] == large_plan.genes[:4].tolist()
    assert {(row["row_groups"], row["parts"]) for row in rows} == {(780_000, 30_000)}


def test_more_comes_back_than_one_message_holds(remote):
    """The packed digests of 60,000 genes are about as much; gRPC's messages hold 128 MB."""
    rows, size = 1_000, 4_096

    def task(number):
        content = np.random.default_rng(number).bytes(rows * size)
        cut = [content[at : at + size] for at in range(0, len(content), size)]
        yield pa.RecordBatch.from_pydict({"task": [number] * rows, "packed": cut})

    schema = pa.schema([("task", pa.int64()), ("packed", pa.binary())])
    found = collect(run_tasks(remote, 40, schema, task), schema, "fetching")
    assert found.num_rows == 40 * rows
    assert found.nbytes > 160_000_000
    last = found.filter(pc.equal(found["task"], 39))["packed"].to_pylist()
    assert b"".join(last) == np.random.default_rng(39).bytes(rows * size)


def test_errors_are_the_librarys_own(remote, tmp_path):
    with pytest.raises(MedianSparkError, match="nothing_here"):
        table_medians(str(tmp_path / "nothing_here"), spark=remote)
