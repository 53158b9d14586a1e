import os
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import h5py
import numpy as np
import pyarrow.dataset as ds
import pytest
from looms import random_counts, write_loom, write_looms
from oracle import loom_values, read_types

from median_spark import AttributeNames, ConvertOptions, ReadOptions, convert, read_gene_table, storage
from median_spark.errors import BusyError, InputError, OutputError, UsageError
from median_spark.expression import SMALL_BYTES, open_table
from median_spark.matrices import SourceFile
from median_spark.progress import SilentProgress
from median_spark.spark.convert.convert import looking_text
from median_spark.storage import FileStat

pytestmark = pytest.mark.spark


@pytest.fixture
def corpus(tmp_path):
    """Three small looms in two folders, two of them called study1."""
    return write_looms(tmp_path / "corpus", ("a/study1", "a/study2", "b/study1"), 5, 80, 50)


def rows(expression):
    table = ds.dataset(f"{expression}/values", partitioning="hive").to_table()
    return table.select(["source", "gene", "cell", "value"]).to_pandas()


def files_of(expression, source):
    folder = Path(expression) / "values" / f"source={source.replace('/', '%2F')}"
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_every_value_of_the_demo_corpus_equals_the_oracle_bit_for_bit(spark, demo, tmp_path):
    table = demo / "gene_info_table.csv"
    convert(str(demo), str(tmp_path / "x"), spark=spark, reading=ReadOptions(gene_table=read_gene_table(str(table))))
    found = rows(tmp_path / "x")
    for path in sorted(demo.rglob("*.loom")):
        source = str(path.relative_to(demo).with_suffix(""))
        expected, _ = loom_values(path, read_types(table))
        with h5py.File(path) as file:
            names = file["col_attrs/cell_id"].asstr()[:]
        of_source = found[found.source == source]
        by_gene = {gene: part for gene, part in of_source.groupby("gene")}  # noqa: C416
        assert by_gene.keys() == expected.keys()
        for gene, (cells, values) in expected.items():
            assert by_gene[gene].cell.tolist() == names[cells].tolist()
            assert np.array_equal(by_gene[gene].value.to_numpy(), values)


def test_sources_are_named_by_their_path_below_the_input(spark, corpus, tmp_path):
    done = convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert done.converted == ["a/study1", "a/study2", "b/study1"]
    assert set(rows(tmp_path / "x").source) == set(done.converted)


def test_a_second_conversion_converts_nothing_again(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    before = files_of(tmp_path / "x", "a/study1")
    again = convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert (again.converted, again.unchanged) == ([], ["a/study1", "a/study2", "b/study1"])
    assert files_of(tmp_path / "x", "a/study1") == before


def test_a_changed_file_replaces_only_its_source(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    kept, old = files_of(tmp_path / "x", "b/study1"), rows(tmp_path / "x")
    changed = np.arange(80 * 50).reshape(80, 50) % 7
    write_loom(corpus / "a" / "study1.loom", changed)
    done = convert(str(corpus), str(tmp_path / "x"), spark=spark)
    new = rows(tmp_path / "x")
    assert done.converted == ["a/study1"]
    assert files_of(tmp_path / "x", "b/study1") == kept
    assert (
        new[new.source != "a/study1"]
        .reset_index(drop=True)
        .equals(old[old.source != "a/study1"].reset_index(drop=True))
    )
    assert (new.source == "a/study1").sum() == (changed > 0).sum()


@pytest.mark.parametrize(
    "options", [ReadOptions(target_sum=1e6), ReadOptions(gene_types=("miRNA", "protein_coding", "x"))]
)
def test_other_parameters_convert_everything_again(spark, corpus, tmp_path, options):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert len(convert(str(corpus), str(tmp_path / "x"), spark=spark, reading=options).converted) == 3


def test_a_moved_corpus_is_not_converted_again(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    corpus.rename(tmp_path / "elsewhere")
    assert convert(str(tmp_path / "elsewhere"), str(tmp_path / "x"), spark=spark).converted == []


def test_overwrite_converts_again_and_yields_the_same(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    before = rows(tmp_path / "x")
    assert (
        len(convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(overwrite=True)).converted)
        == 3
    )
    assert rows(tmp_path / "x").equals(before)


def test_a_later_input_adds_sources(spark, corpus, tmp_path):
    convert(str(corpus / "a"), str(tmp_path / "x"), spark=spark)
    write_loom(tmp_path / "late" / "study9.loom", np.ones((80, 50), int))
    convert(str(tmp_path / "late"), str(tmp_path / "x"), spark=spark)
    assert [record.source for record in open_table(str(tmp_path / "x")).sources()] == ["study1", "study2", "study9"]


def test_many_units_hold_what_one_unit_holds(spark, tmp_path):
    path = write_loom(tmp_path / "big.loom", random_counts(np.random.default_rng(2), 120, 700))
    convert(path, str(tmp_path / "one"), spark=spark)
    convert(path, str(tmp_path / "many"), spark=spark, options=ConvertOptions(unit_entries=3_000))
    assert len(list((tmp_path / "one" / "values").rglob("part-*.parquet"))) == 1
    assert len(list((tmp_path / "many" / "values").rglob("part-*.parquet"))) > 3
    order = ["gene", "cell"]
    one, many = (rows(tmp_path / name).sort_values(order, ignore_index=True) for name in ("one", "many"))
    assert one.equals(many)


def test_nothing_but_parquet_lies_in_values(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    files = [path for path in (tmp_path / "x" / "values").rglob("*") if path.is_file()]
    assert files
    assert all(path.suffix == ".parquet" for path in files)
    assert not (tmp_path / "x" / "staging").exists() or not list((tmp_path / "x" / "staging").iterdir())


def test_spark_opens_values_by_its_bare_path(spark, corpus, tmp_path):
    convert(str(corpus), str(tmp_path / "x"), spark=spark)
    frame = spark.read.parquet(str(tmp_path / "x" / "values"))
    assert {field.name: field.dataType.simpleString() for field in frame.schema} == {
        "gene": "string",
        "cell": "string",
        "value": "double",
        "source": "string",
    }
    order = ["source", "gene", "cell"]
    assert (
        frame.toPandas()[[*order, "value"]]
        .sort_values(order, ignore_index=True)
        .equals(rows(tmp_path / "x").sort_values(order, ignore_index=True))
    )


def test_failing_keeps_what_is_done_and_names_the_file(spark, corpus, tmp_path):
    bad = random_counts(np.random.default_rng(1), 80, 50).astype(np.float32)
    bad[3, 4] = np.nan
    write_loom(corpus / "c" / "bad.loom", bad, n_counts=np.full(50, 9.0))
    with pytest.raises(InputError, match=r"c/bad\.loom: the matrix holds 1 NaN count .*'ENSG00000000003'.*'cell4'"):
        convert(str(corpus), str(tmp_path / "x"), spark=spark)
    names = [record.source for record in open_table(str(tmp_path / "x")).sources()]
    assert "c/bad" not in names


def test_all_that_can_be_seen_without_counts_is_said_at_once(spark, corpus, tmp_path):
    write_loom(corpus / "c" / "one.loom", np.ones((4, 4), int), n_counts=None)
    write_loom(corpus / "c" / "two.loom", np.ones((4, 4), int), filter_pass=np.zeros(4))
    with pytest.raises(
        InputError, match=r"(?s)2 sources cannot be converted.*'n_counts' is missing.*two\.loom.*never 1"
    ):
        convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert open_table(str(tmp_path / "x")).sources() == []


def test_skipping_finishes_the_others_and_remembers_why(spark, corpus, tmp_path):
    (corpus / "no.loom").write_bytes(b"this is no HDF5")
    negative = np.ones((80, 50), int)
    negative[0, 0] = -1
    write_loom(corpus / "negative.loom", negative)
    done = convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"))
    assert done.converted == ["a/study1", "a/study2", "b/study1"]
    assert [failure.source for failure in done.failures] == ["negative", "no"]
    table = open_table(str(tmp_path / "x"))
    assert {failure.source: failure.reason for failure in table.failures()}.keys() == {"negative", "no"}
    assert not (tmp_path / "x" / "values" / "source=negative").exists()


def test_a_source_that_was_mended_is_no_longer_listed_as_failed(spark, corpus, tmp_path):
    (corpus / "no.loom").write_bytes(b"this is no HDF5")
    convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"))
    write_loom(corpus / "no.loom", np.ones((80, 50), int))
    assert convert(str(corpus), str(tmp_path / "x"), spark=spark).converted == ["no"]
    assert open_table(str(tmp_path / "x")).failures() == []


def test_nothing_usable_is_an_error_even_when_skipping(spark, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "no.loom").write_bytes(b"no")
    with pytest.raises(InputError, match="not an HDF5 file"):
        convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"))


def test_a_folder_with_something_else_is_left_as_it_is(spark, corpus, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"contains files other than.*thesis\.txt"):
        convert(str(corpus), str(tmp_path / "x"), spark=spark)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["thesis.txt"]


def test_a_table_that_is_being_written_to_is_refused(spark, corpus, tmp_path):
    with storage.locked(str(tmp_path / "x"), "the first run"), pytest.raises(BusyError, match="'the first run'"):
        convert(str(corpus), str(tmp_path / "x"), spark=spark)


def test_an_unknown_choice_on_error_is_refused(spark, corpus, tmp_path):
    with pytest.raises(UsageError, match="'fail' or 'skip'"):
        convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="ignore"))


def test_options_reach_the_workers(spark, tmp_path):
    counts = random_counts(np.random.default_rng(3), 40, 30)
    path = write_loom(
        tmp_path / "s.loom",
        counts,
        n_counts=None,
        filter_pass=None,
        ensembl_id=None,
        row_gene=[f"G{i}" for i in range(40)],
    )
    options = ReadOptions(
        target_sum=100, cell_filter=False, compute_n_counts=True, names=AttributeNames(gene_id="gene")
    )
    convert(path, str(tmp_path / "x"), spark=spark, reading=options)
    found = rows(tmp_path / "x")
    row, cell = np.nonzero(counts)
    expected = counts[row, cell] / counts.sum(axis=0).astype(float)[cell] * 100
    assert sorted(found.value) == sorted(expected)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ([9, SMALL_BYTES], "reading 2 sources"),
        ([SMALL_BYTES + 1], "looking at 1 source"),
        ([9, SMALL_BYTES + 1], "looking at 2 sources, reading the small one at once"),
        ([9, 9, SMALL_BYTES + 1], "looking at 3 sources, reading the 2 small ones at once"),
    ],
)
def test_the_first_stage_says_which_sources_it_converts(sizes, text):
    assert looking_text([SourceFile(str(size), FileStat(f"/{size}.loom", size, 0)) for size in sizes]) == text


def test_small_sources_are_reported_as_converted_once_and_after_they_were_looked_at(spark, corpus, tmp_path):
    told, seconds = [], []

    class Listener(SilentProgress):
        def convert_state(self, state):
            told.append(state.text())
            seconds.append(state.seconds)

        @contextmanager
        def working(self, text):
            told.append(text)
            begin = time.monotonic()
            yield
            seconds.append(time.monotonic() - begin)
            told.append("done")

    convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"), progress=Listener())
    assert told[:2] == ["reading 3 sources", "done"]
    assert told[2].startswith("3 of 3 sources, ")
    assert len(told) == 3
    looking, whole = seconds
    assert looking * 0.9 < whole < looking + 5  # the look has converted them


def test_a_file_that_changes_while_it_is_read_is_not_committed(spark, tmp_path):
    path = write_loom(tmp_path / "corpus" / "s.loom", np.ones((30, 20), int))

    class Meddler:
        """Touches the file whenever progress of the conversion or of looking at sources is reported."""

        def note(self, text):
            pass

        def convert_state(self, state):
            os.utime(path)

        def working(self, text):
            os.utime(path)
            return nullcontext()

    with pytest.raises(InputError, match="changed while it was being read"):
        convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark, progress=Meddler())
    assert open_table(str(tmp_path / "x")).sources() == []
