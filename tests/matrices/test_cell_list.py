"""Lists of cells: the forms that they come in, and which cells of a source they choose."""

import gzip

import numpy as np
import pandas as pd
import pytest
from looms import random_counts, write_loom

from median_spark.errors import InputError, UsageError
from median_spark.inspection import examine
from median_spark.matrices import ReadOptions, chosen_cells, open_matrix, outline_of, read_cell_list
from median_spark.matrices.cell_filter import passing_cells
from median_spark.options import Style

FORMS = {
    "cells.csv": "cell_id,tissue\nb,lung\na,heart\n\nb,lung\n",
    "cells.tsv": "tissue\tbarcode\nlung\tb\nheart\ta\n",
    "windows.csv": "\ufeffcell_id;x\r\n b ;1\r\na;2\r\n",
    "write_csv_of_r.csv": '"","tissue"\n"b","lung"\n"a","heart"\n',
    "write_table_of_r.tsv": '"tissue"\t"n"\n"b"\t"lung"\t"1"\n"a"\t"heart"\t"2"\n',
    "to_csv_of_pandas.csv": ",tissue\nb,lung\na,heart\n",
    "allen.csv": "cell_barcode,cell_label,x\nACGT,a,1\nACGT,b,2\n",
    "one_column.txt": "Cell\na\nb\n",
}


def ids(path):
    return sorted(read_cell_list(str(path)).ids.to_pylist())


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_text_is_read(name, tmp_path):
    (tmp_path / name).write_text(FORMS[name], newline="")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(FORMS[name].encode()))
    assert ids(tmp_path / name) == ids(tmp_path / f"{name}.gz") == ["a", "b"]


@pytest.mark.parametrize("as_index", [False, True])
def test_parquet_is_read_with_an_index_or_a_column(as_index, tmp_path):
    frame = pd.DataFrame({"cell_id": ["b", "a", None], "source": ["s", "s", "t"], "depth": [1, 2, 3]})
    frame = frame.set_index("cell_id") if as_index else frame
    frame.to_parquet(tmp_path / "cells.parquet")
    cells = read_cell_list(str(tmp_path / "cells.parquet"))
    assert sorted(zip(cells.ids.to_pylist(), cells.sources.to_pylist(), strict=True)) == [("a", "s"), ("b", "s")]
    frame.reset_index(drop=not as_index).set_index("source").to_parquet(tmp_path / "other.parquet")
    assert read_cell_list(str(tmp_path / "other.parquet")).fingerprint == cells.fingerprint


def test_the_fingerprint_is_that_of_the_cells_in_whatever_order(tmp_path):
    texts = {
        "a": "cell\na\nb\n",
        "b": "x,cell_id\n1,b\n2,a\n3,a\n",
        "c": "cell\na\nc\n",
        "d": "cell,source\na,s\nb,s\n",
    }
    prints = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
        prints[name] = read_cell_list(str(tmp_path / f"{name}.csv")).fingerprint
    assert prints["a"] == prints["b"]
    assert len(set(prints.values())) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("cell_id\n", "the list of cells is empty"),
        (
            "AAAC-1\nAAAG-1\n",
            "has no column of cell ids: one must be named 'cell', 'cell_id', 'cellid', 'cell_label' or",
        ),
        ("cell,cell\na,b\n", "has a name twice"),
        ("cell,b\na,b\nc\n", "cannot be read"),
        ("\x1f\x8bcell\n", "cannot be read"),
        ("PAR1cell\n", "cannot be read"),
        (
            "\x89HDF\r\n\x1a\n",
            "it is an HDF5 file, such as .loom or .h5ad; the list must be a CSV or TSV, which may be",
        ),
        ("\x80\x04\x95", "cannot be read (it is a pickle; the list must be"),
    ],
)
def test_what_is_no_list_is_one_sentence(text, problem, tmp_path):
    path = tmp_path / "cells.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as refused:
        read_cell_list(str(path))
    assert str(refused.value).startswith(f"{path}: ")
    assert problem in str(refused.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_cell_list(str(tmp_path / "nothing.csv"))


@pytest.fixture
def loom(tmp_path):
    counts = random_counts(np.random.default_rng(3), 9, 40)
    counts[0] = 1
    names = [f"c{number % 35}" for number in range(40)]  # some stand twice
    return write_loom(tmp_path / "folder" / "a.loom", counts, cell_id=names, filter_pass=np.zeros(40, dtype=int))


def cell_list(tmp_path, text):
    (tmp_path / "list.csv").write_text(text)
    return read_cell_list(str(tmp_path / "list.csv"))


def test_a_list_chooses_the_cells_of_its_ids_and_replaces_the_filter(loom, tmp_path, monkeypatch):
    options = ReadOptions(cell_list=cell_list(tmp_path, "cell\nc34\nc2\nnone\nc7\n"))
    for at_once in (1 << 16, 6):
        monkeypatch.setattr(chosen_cells, "CELLS_AT_ONCE", at_once)
        with open_matrix(loom, options.names) as matrix:
            assert passing_cells(matrix, options).nonzero()[0].tolist() == [2, 7, 34, 37]
            assert passing_cells(matrix, options, 3, 36).nonzero()[0].tolist() == [4, 31]
        outlined = outline_of(loom, options)
        assert (outlined.cells_passed, len(outlined.listed)) == (4, 3)


def test_a_query_and_a_list_must_both_hold(loom, tmp_path):
    options = ReadOptions(cell_list=cell_list(tmp_path, "cell\nc34\nc2\n"), cells="cell_id != 'c2'")
    with open_matrix(loom, options.names) as matrix:
        assert passing_cells(matrix, options).nonzero()[0].tolist() == [34]
    with pytest.raises(UsageError, match="contradict each other"):
        ReadOptions(cell_list=options.cell_list, filter_values=("full",))


def test_a_list_with_sources_is_cut_to_those_of_one(loom, tmp_path):
    options = ReadOptions(cell_list=cell_list(tmp_path, "cell,source\nc1,folder/a\nc2,folder/b\nc3,folder/a\n"))
    assert outline_of(loom, options.of_source("folder/a")).cells_passed == 2 + 2
    with pytest.raises(InputError, match="none of its 40 cells is in the list of cells"):
        outline_of(loom, options.of_source("folder/c"))
    findings = dict(examine(loom, options).worded(Style.FLAGS))
    assert findings["cells passing"] == "4 of 40"


def test_a_source_without_a_cell_of_the_list_says_what_both_have(loom, tmp_path):
    with pytest.raises(InputError) as refused:
        outline_of(loom, ReadOptions(cell_list=cell_list(tmp_path, "cell\nx-1\n")))
    message = refused.value.worded(Style.FLAGS)
    assert "(1 id that could be of this source, such as 'x-1'); its cells are such as 'c0', 'c1', 'c2'" in message
