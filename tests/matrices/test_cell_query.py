"""Queries of cells: what pandas says of the same columns, and one sentence for whatever is no query."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from h5ads import write_h5ad
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts, write_loom

from examples import examples
from median_spark.errors import InputError, UsageError
from median_spark.genes import GeneTable
from median_spark.matrices import CellQuery, ReadOptions, chosen_cells, open_matrix, outline_of
from median_spark.matrices.cell_filter import passing_cells
from median_spark.options import Style

CELLS = 300
COUNTS = random_counts(np.random.default_rng(1), 25, CELLS, density=0.3)
COUNTS[0] = 1
READABLE = {
    "gene_table": GeneTable("genes.csv", {f"ENSG{number:011d}": "protein_coding" for number in range(len(COUNTS))}),
    "compute_n_counts": True,
}


def columns():
    rng = np.random.default_rng(2)
    some = rng.random(CELLS) < 0.2
    texts = rng.choice(["lung", "heart", "brain's", 'a "b"', ""], CELLS)
    return pd.DataFrame(
        {
            "tissue": pd.Categorical(np.where(some, None, texts)),
            "stage": pd.Categorical(rng.choice(["late", "early"], CELLS), ["early", "late"], ordered=True),
            "donor": texts,
            "depth": rng.normal(size=CELLS).astype(np.float32),
            "gaps": np.where(some, np.nan, rng.normal(size=CELLS)),
            "batch": rng.integers(-3, 4, CELLS).astype(np.int8),
            "number": pd.arrays.IntegerArray(rng.integers(0, 5, CELLS), some),
            "known": pd.arrays.BooleanArray(rng.random(CELLS) < 0.5, some),
            "is_primary_data": rng.random(CELLS) < 0.6,
            "odd name (%)": rng.integers(0, 100, CELLS),
            "group": rng.integers(0, 3, CELLS),
            "class": rng.integers(0, 3, CELLS),
        },
        index=[f"cell{number}" for number in range(CELLS)],
    )


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    path = tmp_path_factory.mktemp("query") / "a.h5ad"
    obs = columns()
    var = pd.DataFrame(index=[f"ENSG{number:011d}" for number in range(len(COUNTS))])
    anndata.AnnData(scipy.sparse.csr_matrix(COUNTS.T.astype(np.float32)), obs, var).write_h5ad(path)
    return str(path)


@pytest.fixture(scope="module")
def obs(h5ad):
    return anndata.read_h5ad(h5ad).obs


def chosen(path, query, first=0, last=CELLS):
    with open_matrix(path, ReadOptions().names) as matrix:
        return passing_cells(matrix, ReadOptions(cells=query), first, last)


def by_pandas(obs, query):
    found = obs.assign(place_=np.arange(CELLS)).query(query, engine="python")["place_"]
    return np.isin(np.arange(CELLS), found)


COMPARED = st.sampled_from(
    [
        "tissue == 'lung'", "tissue != 'lung'", "tissue in ['lung', \"brain's\"]", "tissue not in ['heart']",
        "'heart' == tissue", "stage > 'early'", "stage <= 'early'", "donor == ''", "donor > 'b'", "donor == 'a \"b\"'",
        "depth > 0", "-depth < 0.5", "0 < depth <= 1", "gaps < 0", "gaps != 0", "gaps == gaps", "batch in (1, 2, -1)",
        "batch % 2 == 1", "batch ** 2 > 3", "number > 2", "number != 2", "number == [1, 2]", "known", "known == False",
        "is_primary_data", "is_primary_data == True", "`odd name (%)` >= 40", "`odd name (%)` // 10 == batch",
        "group == 1", "index == 'cell7'", "index != 'cell7'", "depth + gaps > batch", "batch < number",
    ]
)  # fmt: skip
QUERIES = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        inner.map("~({})".format),
        st.tuples(inner, st.sampled_from(["and", "or", "&", "|"]), inner).map(
            lambda parts: "({}) {} ({})".format(*parts)
        ),
    ),
    max_leaves=5,
)


@examples(150)
@given(query=QUERIES, cut=st.integers(0, CELLS))
def test_a_query_chooses_the_cells_that_pandas_chooses(h5ad, obs, query, cut):
    try:
        expected = by_pandas(obs, query)
    except (TypeError, ValueError, NotImplementedError):  # pandas cannot, as with ~ of missing values
        with pytest.raises(InputError, match=r"cannot be evaluated|must be true or false"):
            chosen(h5ad, query)
        return
    assert chosen(h5ad, query).tolist() == expected.tolist()
    assert chosen(h5ad, query, cut).tolist() == expected[cut:].tolist()


def test_a_name_is_that_of_an_attribute_whatever_else_it_is_called_after(tmp_path):
    numbers = np.arange(CELLS)
    path = write_loom(
        tmp_path / "a.loom", COUNTS, col_inf=numbers, col_list=numbers, col_c0=numbers, col_c1=numbers + 1
    )
    assert chosen(path, "list > 290 and inf > 291 and c1 > 293 and c0 > 0").nonzero()[0].tolist() == [*range(293, 300)]


def test_precedence_is_that_of_pandas(h5ad, obs):
    for query in ("batch > 0 & group == 1", "batch > 0 | group == 1 and is_primary_data", "batch == 1 | batch == 2"):
        assert chosen(h5ad, query).tolist() == by_pandas(obs, query).tolist()


def test_cells_are_looked_at_some_at_a_time(h5ad, obs, monkeypatch):
    monkeypatch.setattr(chosen_cells, "CELLS_AT_ONCE", 7)
    for query in ("tissue == 'lung' and batch > 0", "stage > 'early'", "n_genes > 8"):
        expected = by_pandas(obs.assign(n_genes=(COUNTS > 0).sum(axis=0)), query)
        assert chosen(h5ad, query).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["loom", "csr", "csc", "dense"])
def test_totals_and_detected_genes_are_computed_where_they_are_missing(kind, tmp_path):
    path = str(tmp_path / f"a.{'loom' if kind == 'loom' else 'h5ad'}")
    if kind == "loom":
        write_loom(path, COUNTS, n_counts=None)
    else:
        write_h5ad(path, COUNTS, kind, n_counts=None)
    totals, detected = COUNTS.sum(axis=0), (COUNTS > 0).sum(axis=0)
    query = "n_counts > 20 and n_genes >= 8"
    assert chosen(path, query).tolist() == ((totals > 20) & (detected >= 8)).tolist()
    assert chosen(path, query, 40, 99).tolist() == ((totals > 20) & (detected >= 8))[40:99].tolist()


def test_detected_genes_of_many_cells_are_counted_in_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("median_spark.matrices.contract._ENTRIES_AT_ONCE", 50)
    path = write_loom(tmp_path / "a.loom", COUNTS, storage={"chunks": (8, 16)})
    with open_matrix(path, ReadOptions().names) as matrix:
        assert matrix.detected_genes(3, 200).tolist() == (COUNTS > 0).sum(axis=0)[3:200].tolist()


def test_an_attribute_of_that_name_is_taken_as_it_is(tmp_path):
    numbers = np.arange(CELLS)
    path = write_loom(tmp_path / "a.loom", COUNTS, n_counts=numbers + 5.0, col_n_genes=numbers)
    assert chosen(path, "n_genes < 3 and n_counts > 5").tolist() == np.isin(numbers, [1, 2]).tolist()


def test_a_query_replaces_the_filter_unless_that_is_asked_for(tmp_path):
    fails = np.arange(CELLS) % 2
    path = write_loom(tmp_path / "a.loom", COUNTS, filter_pass=1 - fails, col_number=np.arange(CELLS))
    with open_matrix(path, ReadOptions().names) as matrix:
        assert passing_cells(matrix, ReadOptions(cells="number < 4")).nonzero()[0].tolist() == [0, 1, 2, 3]
        both = ReadOptions(cells="number < 4", cell_filter=True)
        assert passing_cells(matrix, both).nonzero()[0].tolist() == [0, 2]
    assert ReadOptions(cells="number < 4") == ReadOptions(cells="number < 4", cell_filter=False)
    with pytest.raises(UsageError, match="contradict each other"):
        ReadOptions(cells="number < 4", filter_values=("1",))


def test_a_query_that_names_what_a_source_lacks_says_what_it_has(tmp_path):
    path = write_loom(tmp_path / "a.loom", COUNTS)
    with pytest.raises(InputError) as refused:
        outline_of(path, ReadOptions(cells="tissue == 'lung' and n_genes > 1"))
    assert refused.value.worded(Style.FLAGS) == (
        f"{path}: the query of cells names 'tissue', which its cells lack; they have 'cell_id', 'filter_pass', "
        "'n_counts'; n_counts and n_genes are computed where they are missing: use these in --cells"
    )


def test_a_query_that_chooses_no_cell_says_what_there_is(h5ad, tmp_path):
    with pytest.raises(InputError) as refused:
        outline_of(h5ad, ReadOptions(cells="stage == 'Late' and batch > 9 and is_primary_data", **READABLE))
    message = refused.value.worded(Style.FLAGS)
    late, primary = (columns()["stage"] == "late").sum(), columns()["is_primary_data"].sum()
    assert "chooses none of its 300 cells: " in message
    assert f"'stage' holds 'early' ({CELLS - late} cells), 'late' ({late} cells); 'batch' holds -3 to 3; " in message
    assert f"'is_primary_data' holds True ({primary} cells), False" in message


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("a.b == 1", "takes an attribute with a dot"), ("abs(a) > 1", "calls a function"), ("@x == 1", "has an @"),
        ("a = 1", "cannot be read"), ("__import__('os')", "calls a function"), ("a[0]", "takes an item"),
        ("`x", "a backtick that is not closed"), ("1 == 1", "names no attribute"), ("", "cannot be read"),
        ("a if b else c", "has an if"), ("f'{a}' == 1", "has a formatted text"), ("(a := 3)", "assigns a value"),
        ("a is True", "no part of a query (Is)"), ("lambda: a", "defines a function"),
        ("a == None", "has the value None"),
        ("a == b'x'", "has the value b'x'"), ("a; b", "cannot be read"), ("import os", "cannot be read"),
        ("[x for x in a]", "no part of a query"), ("{a}", "no part of a query"), ("a == 1 #", None),
        ("(" * 300, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_query_is_one_sentence(query, problem):
    if problem is None:
        assert CellQuery(query).names == ("a",)
        return
    with pytest.raises(UsageError) as refused:
        ReadOptions(cells=query)
    assert problem in str(refused.value)
    assert len(str(refused.value).split("\n")) == 1


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("batch", "must be true or false for each cell; it gives int8"),
        ("batch + 1", "must be true or false"),
        ("batch > 'x'", "cannot be evaluated"),
        ("tissue > 'x'", "cannot be evaluated"),
        ("donor + 1 == 2", "cannot be evaluated"),
    ],
)
def test_a_query_that_does_not_fit_the_columns_is_one_sentence(h5ad, query, problem):
    with pytest.raises(InputError) as refused:
        chosen(h5ad, query)
    assert problem in str(refused.value)
    assert len(str(refused.value).split("\n")) == 1


def test_a_damaged_column_is_one_sentence(h5ad, tmp_path):
    path = tmp_path / "b.h5ad"
    path.write_bytes(open(h5ad, "rb").read())  # noqa: PTH123, SIM115
    with h5py.File(path, "r+") as file:
        file["obs/tissue/categories"][0] = "lung"
        file["obs/tissue/categories"][1] = "lung"
    with pytest.raises(InputError, match="obs column 'tissue' has a category twice"):
        chosen(str(path), "tissue == 'lung'")
