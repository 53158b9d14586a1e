"""What is kept of cells, against what each format's own library says of the same file, for columns drawn at random."""

import anndata
import loompy
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import tiledbsoma
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from looms import random_counts
from parquets import write_lists, write_long
from somas import write_soma
from tenx import write_tenx_h5
from triples import write_parse

from examples import examples
from median_spark.genes import read_gene_table
from median_spark.matrices import AttributeNames, ReadOptions, Unit, values_of

GENES, CELLS = 12, 9
COUNTS = random_counts(np.random.default_rng(1), GENES, CELLS, density=0.8)
COUNTS[0] = 1  # a cell without an entry has no row in a long table
IDS = [f"ENSG{gene:011d}" for gene in range(GENES)]
OPTIONS = ReadOptions(layout="none", cell_filter=False, compute_n_counts=True)

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=5)
INTEGERS = st.sampled_from([np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
FLOATS = st.sampled_from([np.float32, np.float64])


def lists_of(values):
    return st.lists(values, min_size=CELLS, max_size=CELLS)


def arrays(dtype):
    """Draw a column of a type of numbers, its extremes among them; NaN among floats."""
    if np.dtype(dtype).kind == "f":
        return lists_of(st.floats(width=np.dtype(dtype).itemsize * 8)).map(lambda held: np.array(held, dtype))
    bounds = np.iinfo(dtype)
    return lists_of(st.integers(int(bounds.min), int(bounds.max))).map(lambda held: np.array(held, dtype))


NUMBERS = st.one_of(INTEGERS.flatmap(arrays), FLOATS.flatmap(arrays), lists_of(st.booleans()).map(np.array))
PLAIN = NUMBERS | lists_of(TEXTS).map(lambda held: np.array(held, dtype=object))
# loompy drops what is not ASCII when it reads, and takes entities of XML for characters in every version of the format.
OF_LOOMPY = NUMBERS | lists_of(st.text("ab Z_<'", max_size=5)).map(lambda held: np.array(held, dtype=object))
SMALL = st.integers(0, 4)
WITH_GAPS = st.one_of(
    lists_of(st.none() | st.sampled_from(["lung", "heart", "ä"])).map(pd.Categorical),
    lists_of(st.none() | SMALL).map(lambda held: pd.Categorical(held, categories=range(5))),
    lists_of(st.none() | SMALL).map(lambda held: pd.array(held, dtype="Int16")),
    lists_of(st.none() | st.booleans()).map(lambda held: pd.array(held, dtype="boolean")),
)
NAMES = st.sampled_from(["tissue", "cell type", "a.b", "n_genes", "Größe", "x", "donor_id", "batch"])


def columns(values):
    return st.dictionaries(NAMES, values, min_size=1, max_size=3)


def kept(path, first_unit, options=OPTIONS):
    """Return what is kept of the cells of both of two units."""
    units = (Unit(0, 0, first_unit), Unit(1, first_unit, CELLS))
    tables = [values_of(str(path), unit, options, "all")[1] for unit in units]
    plain = [pa.table({name: _decoded(column) for name, column in zip(t.schema.names, t, strict=True)}) for t in tables]
    assert plain[0].schema == plain[1].schema
    return pa.concat_tables(plain)


def _decoded(column):
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def assert_same(table, expected):
    """Compare what is kept with columns as pandas has them."""
    for name, series in expected.items():
        held = table[name].to_pylist()
        values = pd.Series(series)
        for ours, theirs, gap in zip(held, values.tolist(), values.isna().tolist(), strict=True):
            if gap:
                assert ours is None or np.isnan(ours), name
            else:
                assert (ours, isinstance(ours, (bool, str))) == (theirs, isinstance(theirs, (bool, str))), name


def in_anndata(obs):
    frame = pd.DataFrame(obs, index=[f"cell{number}" for number in range(CELLS)])
    return anndata.AnnData(scipy.sparse.csr_matrix(COUNTS.T), obs=frame, var=pd.DataFrame(index=IDS))


drawn = examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
slowly = examples(6, suppress_health_check=[HealthCheck.function_scoped_fixture])
CUTS = st.integers(1, CELLS - 1)


@pytest.fixture
def named(tmp_path):
    """Return a function of the name of the column of gene ids, for files whose genes have no type."""
    path = tmp_path / "genes.csv"
    path.write_text("ensembl_id,gene_type\n" + "".join(f"{gene},protein_coding\n" for gene in IDS))
    table = read_gene_table(str(path))

    def options(gene_id):
        names = AttributeNames(gene_id=gene_id, gene_type="none")
        return ReadOptions(layout="none", cell_filter=False, compute_n_counts=True, names=names, gene_table=table)

    return options


@pytest.mark.filterwarnings("ignore")
@given(columns(PLAIN | WITH_GAPS), CUTS)
@drawn
def test_h5ad(tmp_path, named, obs, cut):
    held = in_anndata(obs)
    path = tmp_path / "study.h5ad"
    held.write_h5ad(path)
    found = kept(path, cut, named("index"))
    assert found["cell"].to_pylist() == held.obs_names.tolist()
    assert_same(found, anndata.read_h5ad(path).obs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", [2, 3])
@given(columns(PLAIN | WITH_GAPS), CUTS)
@slowly
def test_zarr(tmp_path, named, version, obs, cut):
    path = tmp_path / "study.zarr"
    with anndata.settings.override(zarr_write_format=version):
        in_anndata(obs).write_zarr(path)
    obs = anndata.read_zarr(path).obs
    # Nothing but empty strings is not stored, as if it were lost: such a column is left out, with a warning.
    expected = {
        name: held for name, held in obs.items() if not all(isinstance(text, str) and not text for text in held)
    }
    assert_same(kept(path, cut, named("index")), expected)


@given(columns(OF_LOOMPY), CUTS)
@drawn
def test_loom(tmp_path, attributes, cut):
    path = tmp_path / "study.loom"
    path.unlink(missing_ok=True)
    rows = {"ensembl_id": np.array(IDS), "gene_type": np.array(["protein_coding"] * GENES)}
    ids = np.array([f"cell{number}" for number in range(CELLS)])
    loompy.create(str(path), COUNTS, rows, {**attributes, "CellID": ids})
    found = kept(path, cut)
    with loompy.connect(str(path), mode="r", validate=False) as held:
        assert found["cell"].to_pylist() == held.ca["CellID"].tolist()
        assert_same(found, {name: held.ca[name] for name in attributes})


@pytest.mark.filterwarnings("ignore")
@given(columns(PLAIN | WITH_GAPS), CUTS)
@slowly
def test_soma(tmp_path_factory, obs, cut):
    path = write_soma(tmp_path_factory.mktemp("soma") / "study", COUNTS, obs=obs)
    found = kept(path, cut)
    with tiledbsoma.open(path) as experiment:
        table = experiment.obs.read().concat()
    assert_same(found, {name: table[name].to_pandas() for name in obs})


@pytest.mark.parametrize("layout", ["lists", "long"])
@given(columns(PLAIN), CUTS)
@drawn
def test_parquet(tmp_path, named, layout, attributes, cut):
    path = tmp_path / f"{layout}.parquet"
    if layout == "lists":
        write_lists(path, COUNTS, IDS, BARCODE_SUB_LIB_ID=None, marker=False, **attributes)
        table = pq.read_table(path)
    else:
        cells = np.nonzero(COUNTS.T)[0]
        write_long(path, COUNTS, **{name: held[cells] for name, held in attributes.items()})
        table = pq.read_table(path).to_pandas().drop_duplicates("cell")
        table = pa.Table.from_pandas(table, preserve_index=False)
    found = kept(path, cut, named("ensembl_id"))
    assert_same(found, {name: table[name].to_pandas() for name in attributes})


def test_10x_and_parse(tmp_path, named):
    barcodes = [f"{'ACGT' * 4}-{cell}" for cell in range(CELLS)]
    found = kept(write_tenx_h5(tmp_path / "study.h5", COUNTS), 4, named("id"))
    assert found["barcode"].to_pylist() == found["cell"].to_pylist() == barcodes
    path = write_parse(tmp_path / "parse", COUNTS, columns={"age": [*range(CELLS - 1), ""]})
    found = kept(path, 4, named("gene_id"))
    assert found["sample"].to_pylist() == (["one", "two"] * CELLS)[:CELLS]
    assert found["tscp_count"].to_pylist() == COUNTS.sum(axis=0).tolist()
    assert found["age"].to_pylist() == [*range(CELLS - 1), None]
