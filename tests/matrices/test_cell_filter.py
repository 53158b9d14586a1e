"""Which cells pass a filter of numbers or texts, in every encoding, and what is said where none does."""

from pathlib import Path
from tempfile import TemporaryDirectory

import anndata
import loompy
import numpy as np
import pandas as pd
import pytest
from h5ads import categorical, nullable, old_categorical, write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import write_loom

from median_spark.cli.arguments import COMMANDS, build_parser
from median_spark.cli.chosen import read_options
from median_spark.errors import InputError, UsageError
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix, outline
from median_spark.matrices.cell_filter import passing_cells
from median_spark.options import Style
from median_spark.spark.datasource import options
from median_spark.verification.inputs import _is_among

TEXTS = ["full", "minimal", "full", "True", "1", "é, ü", "full"]
GENE = "ENSG00000000001"


def taken(path, *values, name="filter_pass"):
    """Return which cells are taken, as a list of bool."""
    options = ReadOptions(filter_values=values, names=AttributeNames(filter_pass=name))
    with open_matrix(str(path), options.names) as matrix:
        return passing_cells(matrix, options).tolist()


def refusal(path, *values):
    with pytest.raises(InputError) as refused, open_matrix(str(path), AttributeNames()) as matrix:
        outline(matrix, ReadOptions(filter_values=values))
    return refused.value.worded(Style.FLAGS).removeprefix(f"{path}: ")


def fixed(texts):
    return np.array([text.encode() for text in texts]) if texts else np.zeros(0, "S1")


ENCODINGS = {
    "loom, variable": lambda folder, texts: loom(folder, texts),
    "loom, fixed": lambda folder, texts: loom(folder, fixed(texts)),
    "h5ad, variable": lambda folder, texts: h5ad(folder, texts),
    "h5ad, fixed": lambda folder, texts: h5ad(folder, fixed(texts)),
    "h5ad, categorical": lambda folder, texts: h5ad(folder, categorical(texts)),
    "h5ad, categorical of anndata 0.7": lambda folder, texts: h5ad(folder, old_categorical(texts)),
    "h5ad, nullable": lambda folder, texts: h5ad(folder, nullable(texts, "string-array")),
}


def loom(folder, content):
    return write_loom(Path(folder) / "s.loom", np.ones((1, 7)), filter_pass=content)


def h5ad(folder, content):
    return write_h5ad(Path(folder) / "s.h5ad", np.ones((1, 7)), filter_pass=content)


words = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.data())
def test_cells_pass_whose_text_is_one_of_the_values(encoding, data):
    held = data.draw(st.lists(st.one_of(st.sampled_from(TEXTS), words), min_size=1, max_size=4))
    texts = data.draw(st.lists(st.sampled_from(held), min_size=7, max_size=7))
    values = data.draw(st.lists(st.one_of(st.sampled_from(held), words), min_size=1, max_size=4))
    with TemporaryDirectory() as folder:
        assert taken(ENCODINGS[encoding](folder, texts), *values) == [text in values for text in texts]


numbers = st.one_of(
    st.integers(-3, 300), st.floats(allow_nan=False, width=32), st.sampled_from([2**53 + 1, 2**62 + 1, 0.1, True])
)


@pytest.mark.parametrize("write", [loom, h5ad])
@given(data=st.data(), kind=st.sampled_from(["?", "i1", "u1", "i8", "u8", "f2", "f4", "f8"]))
def test_cells_pass_whose_number_is_one_of_the_values(write, data, kind):
    with np.errstate(all="ignore"):
        held = np.array(data.draw(st.lists(numbers, min_size=7, max_size=7)), dtype=object)
        content = np.array([np.array(number).astype(kind) for number in held])
    index = data.draw(st.integers(0, 6))
    number = content[index].item()
    spelled = {str(number), str(content[index])} | (
        {f"{number}.0"} if isinstance(number, int) and kind != "?" and abs(number) < 2**53 else set()
    )
    if number in (0, 1):
        spelled |= {"true", "True", "1.0", "1"} if number else {"false", "0", "-0"}
    value = data.draw(st.sampled_from(sorted(spelled)))
    with TemporaryDirectory() as folder:
        found = taken(write(folder, content), "no number", value)
    assert found == [other == content[index] for other in content]


@pytest.mark.parametrize(
    "content",
    [
        [1, 0, 1, 2, 0, 1, 1],
        [1.0, 0.0, 1.0, np.nan, 0.0, 1.0, 1.0],
        [True, False, True, False, False, True, True],
        categorical([1, 0, 1, None, 0, 1, 1]),
        nullable([1, 0, 1, None, 0, 1, 1]),
        nullable([True, False, True, None, False, True, True], "boolean"),
    ],
)
@pytest.mark.parametrize("values", [(), ("1",), ("1.0",), ("True",), ("full", "true")])
def test_one_is_one_however_it_is_written(tmp_path, content, values):
    assert taken(h5ad(tmp_path, content), *values) == [True, False, True, False, False, True, True]


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("value", ["300", "-1", "70001", "0.5", str(2**64), "1" + "0" * 400, "-1" + "0" * 400, "x"])
def test_numbers_that_the_attribute_cannot_hold_let_no_cell_pass(tmp_path, dtype, value):
    stored = np.array([1, 0, 1], dtype)
    path = write_loom(tmp_path / "study.loom", np.ones((2, 3), int), filter_pass=stored)
    assert taken(path, value) == [False] * 3
    assert taken(path, value, "1") == [_is_among(label, [value, "1"]) for label in stored] == [True, False, True]


@pytest.mark.parametrize("encoding", ["categorical", "nullable"])
@pytest.mark.parametrize("value", ["", "full", "nan", "None", "?"])
def test_a_missing_text_never_passes(tmp_path, encoding, value):
    texts = ["full", None, "", "minimal", None, "full", ""]
    path = h5ad(tmp_path, categorical(texts) if encoding == "categorical" else nullable(texts, "string-array"))
    assert taken(path, value) == [text == value for text in texts]


BOOLEANS = np.array([True, False, True])
WRITTEN_BY_ANNDATA = {
    "texts": (np.array(["full", "minimal", "full"], dtype=object), "full"),
    "categorical": (pd.Categorical(["full", "minimal", "full"]), "full"),
    "nullable texts": (pd.array(["full", None, "full"], dtype="string"), "full"),
    "truth as text": (np.array(["True", "False", "True"], dtype=object), "True"),
    "truth values": (BOOLEANS, None),
    "categories of truth values": (pd.Categorical([True, False, True]), None),
    "nullable truth values": (pd.array([True, None, True], dtype="boolean"), None),
    "nullable integers": (pd.array([1, None, 1], dtype="Int64"), None),
    "categories of integers": (pd.Categorical([1, 3, 1]), None),
    "floats": (np.array([1.0, np.nan, 1.0]), None),
    "other numbers": (np.array([7, 3, 7]), "7"),
}


@pytest.mark.parametrize("kind", WRITTEN_BY_ANNDATA)
def test_what_anndata_writes(tmp_path, kind):
    content, value = WRITTEN_BY_ANNDATA[kind]
    obs = pd.DataFrame({"quality": content, "n_counts": [3.0] * 3}, index=["a", "b", "c"])
    var = pd.DataFrame({"gene_type": ["miRNA"]}, index=[GENE])
    with anndata.settings.override(allow_write_nullable_strings=True):
        anndata.AnnData(np.full((3, 1), 3, np.float32), obs, var).write_h5ad(tmp_path / "s.h5ad")
    for values in {(value,) if value else (), (value or "1", "other")}:
        assert taken(tmp_path / "s.h5ad", *values, name="quality") == [True, False, True]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (np.array(["full", "minimal", "full"]), "full"),
        (np.array(["füll", "mini & mal", "füll"], dtype=object), "füll"),
        (np.array(["a & b", "<c>", "a & b"]), "a & b"),
        (np.array(["True", "False", "True"]), "True"),
        (BOOLEANS, None),
        (np.array([1, 0, 1]), None),
        (np.array([1.0, 0.0, 1.0]), None),
        (np.array([7, 3, 7]), "7"),
    ],
)
@pytest.mark.parametrize("specification", ["3.0.0", "2.0.1"])
def test_what_loompy_writes(tmp_path, monkeypatch, content, value, specification):
    monkeypatch.setattr(loompy, "loom_spec_version", specification)
    path = str(tmp_path / "s.loom")
    columns = {"quality": content, "n_counts": np.full(3, 3.0)}
    loompy.create(path, np.full((1, 3), 3), {"ensembl_id": np.array([GENE]), "gene_type": np.array(["miRNA"])}, columns)
    for values in {(value,) if value else (), (value or "1", "other")}:
        assert taken(path, *values, name="quality") == [True, False, True]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_are_refused_without_values_and_shown(tmp_path, encoding):
    path = ENCODINGS[encoding](tmp_path, TEXTS)
    noun = "column attribute" if path.endswith("loom") else "obs column"
    assert refusal(path) == (
        f"{noun} 'filter_pass' holds texts and not 1 for the cells that pass: 'full' (3 cells), '1' (1 cell), "
        "'True' (1 cell), 'minimal' (1 cell), 'é, ü' (1 cell): choose among them with --filter-value, or name another "
        "with --filter-attr"
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_values_that_no_cell_has_are_named_with_those_there_are(tmp_path, encoding):
    path = ENCODINGS[encoding](tmp_path, ["a\x1b[31m", "b" * 99, *["pass"] * 5])
    assert (
        f"filter_pass' is never 'Pass' or 'ok'; it holds 'pass' (5 cells), 'a\\x1b[31m' (1 cell), '{'b' * 39}…' (1 "
        in (refusal(path, "ok", "Pass"))
    )


def test_only_the_most_frequent_values_are_shown(tmp_path):
    texts = [f"barcode{number}" for number in range(90)] + ["often"] * 10
    path = write_loom(tmp_path / "s.loom", np.ones((1, 100)), filter_pass=texts)
    found = refusal(path)
    assert "'often' (10 cells), 'barcode0' (1 cell), " in found
    assert "'barcode14' (1 cell), 83 more: choose" in found


def test_a_filter_without_any_value(tmp_path):
    path = h5ad(tmp_path, nullable([None] * 7, "string-array"))
    assert "none of its 7 cells passes: obs column 'filter_pass' is never 1; it holds no value (7 cells)" in refusal(
        path
    )


class TestOptions:
    def parsed(self, *arguments):
        return read_options(build_parser(dict.fromkeys(COMMANDS)).parse_args(["inspect", "x", *arguments]))

    def test_of_the_command_line(self):
        assert self.parsed() == ReadOptions()
        assert self.parsed("--filter-value", "full", "a, b").filter_values == ("full", "a, b")
        assert self.parsed("--filter-value", "full", "--filter-value=-1").filter_values == ("full", "-1")

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("full", ("full",)),
            ("full,minimal", ("full", "minimal")),
            ("True, true", ("True", "true")),
            ('"a, b", c', ("a, b", "c")),
            ("1", ("1",)),
        ],
    )
    def test_of_a_reader(self, text, values):
        assert options.read_options({"filter-value": text}).filter_values == values

    def test_of_a_reader_that_cannot_be_read(self):
        with pytest.raises(UsageError, match="'filter_value' must be values with commas between them, not '\"a'"):
            options.read_options({"filter_value": '"a'})

    def test_every_cell_and_some_cells_contradict_each_other(self):
        with pytest.raises(
            UsageError, match=r"filter_values=…\) and ReadOptions\(cell_filter=False\) contradict each other"
        ):
            self.parsed("--filter-value", "full", "--no-cell-filter")
        with pytest.raises(UsageError, match="contradict"):
            options.read_options({"filter_value": "full", "no_cell_filter": "true"})

    def test_are_recorded_only_where_they_are_given(self):
        """Tables that were converted before there was this option keep their fingerprints."""
        default = ReadOptions().as_json()
        assert list(default) == [
            "target_sum", "gene_types", "gene_table", "gene_map", "strip_version", "names", "cell_filter",
            "compute_n_counts", "layer", "allow_non_integer",
        ]  # fmt: skip
        chosen = ReadOptions(filter_values=("full", "True", "full")).as_json()
        assert chosen == default | {"filter_values": ["True", "full"]}
