"""Layouts: each is recognised by its marks, read as numpy says, and nothing else is taken for it."""

from dataclasses import replace

import numpy as np
import pytest
from h5ads import write_h5ad
from layouts import CELLS, IDS, SYMBOLS, WRITERS, cellxgene, optimus, scanpy, scenic, small_counts, write_anndata
from looms import write_loom

from median_spark.errors import InputError, UsageError
from median_spark.genes import GeneMap, GeneTable
from median_spark.inspection import examine
from median_spark.matrices import (
    FORMATS,
    AppliedLayout,
    AttributeNames,
    ReadOptions,
    current,
    open_source,
    outline,
    outline_of,
    read_unit,
    select_rows,
)
from median_spark.matrices.known_layouts import AUTO_LAYOUT, LAYOUT_NAMES, LAYOUTS
from median_spark.options import READING, Style

TABLE = GeneTable("genes.csv", dict.fromkeys(IDS, "protein_coding"))
OPTIONS = ReadOptions(gene_table=TABLE)
TO_IDS = GeneMap.from_pairs("map.csv", zip(SYMBOLS, IDS, strict=True))
EVERY = [(name, writer) for name, writers in WRITERS.items() for writer in writers]

every_layout = pytest.mark.parametrize(
    ("name", "writer"), EVERY, ids=[f"{name}-{i}" for i, (name, _) in enumerate(EVERY)]
)


def read(path, options=OPTIONS):
    """Return {gene: (cell ids, values)} of a source, and the name of its layout."""
    with open_source(str(path), options) as source:
        selection = select_rows(source.matrix, source.options)
        outlined = outline(source.matrix, source.options, layout=source.layout)
        found = {}
        for unit in outlined.units:
            values, cells = read_unit(source.matrix, selection, unit, source.options)
            for number, gene in enumerate(values.genes):
                places = values.cells[values.offsets[number] : values.offsets[number + 1]]
                found[str(gene)] = (cells["cell"].take(places).to_pylist(), values.of_gene(number))
        assert len(outlined.units) == 1
        return found, source.layout.name if source.layout else None


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for gene, (cells, values) in expected.items():
        assert found[gene][0] == cells, gene
        assert found[gene][1].tobytes() == values.tobytes(), gene


def reason(path, options=OPTIONS):
    with pytest.raises(InputError) as refused:
        read(path, options)
    return refused.value.worded(Style.FLAGS)


def options_for(name):
    return replace(OPTIONS, gene_map=TO_IDS) if name == "scenic" else OPTIONS


@every_layout
def test_a_layout_is_recognised_and_read_with_a_gene_table_alone(name, writer, tmp_path):
    path, expected = writer(tmp_path)
    found, recognised = read(path, options_for(name))
    assert recognised == name
    assert_same(found, expected)


@every_layout
def test_a_layout_can_be_insisted_on(name, writer, tmp_path):
    path, expected = writer(tmp_path)
    found, recognised = read(path, replace(options_for(name), layout=name))
    assert recognised == name
    assert_same(found, expected)


@every_layout
def test_nothing_is_recognised_where_that_is_asked_for(name, writer, tmp_path):
    path, expected = writer(tmp_path)
    options = replace(options_for(name), layout="none")
    if name == "geneformer":
        found, recognised = read(path, options)
        assert recognised is None
        assert_same(found, expected)
    else:
        assert "missing" in reason(path, options)


@every_layout
def test_what_a_layout_implies_gives_the_same_when_it_is_given(name, writer, tmp_path):
    path, expected = writer(tmp_path)
    with open_source(str(path), options_for(name)) as source:
        implied, completed = source.layout.implied, source.options
    found, _ = read(path, replace(completed, layout="none"))
    assert_same(found, expected)
    assert all(name in {option.name for option in READING} for name in implied)
    assert AppliedLayout.from_json(AppliedLayout(name, implied).as_json()) == AppliedLayout(name, implied)
    assert current(AppliedLayout(name, implied))


def test_every_layout_has_a_writer_here():
    assert {layout.name for layout in LAYOUTS} == {*WRITERS, "allen-log2"}
    assert {name for layout in LAYOUTS for name in layout.formats} == {one.name for one in FORMATS}
    assert len(set(LAYOUT_NAMES)) == len(LAYOUT_NAMES)
    assert all(option in {each.name for each in READING} for layout in LAYOUTS for option in layout.implies)


@pytest.mark.parametrize("name", [layout.name for layout in LAYOUTS])
def test_another_layout_than_was_asked_for_is_rejected_and_what_it_lacks_is_said(name, tmp_path):
    path = write_loom(tmp_path / "a.loom", small_counts(1).T, n_counts=None)
    message = reason(path, ReadOptions(layout=name))
    assert message.startswith(f"{path}: this is not the layout '{name}' (")
    assert "it lacks the " in message or "it lacks a name" in message
    assert message.endswith("--layout auto recognises the layout of each source")


def test_a_layout_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UsageError, match=r"^layout must be one of 'auto', 'none', 'geneformer', .*, not 'loom'$"):
        ReadOptions(layout="loom")


def test_of_several_layouts_the_first_is_taken(tmp_path):
    counts = small_counts(1)
    obs = {
        "is_primary_data": np.arange(CELLS) % 2 == 0,
        "total_counts": counts.sum(axis=1),
        "n_genes_by_counts": (counts > 0).sum(axis=1),
    }
    write_anndata(tmp_path / "both.h5ad", counts, obs, {}, IDS, uns={"schema_version": "7.1.0"})
    assert read(tmp_path / "both.h5ad")[1] == "cellxgene"
    obs |= {"n_counts": counts.sum(axis=1), "filter_pass": np.ones(CELLS, dtype=int)}
    write_anndata(tmp_path / "all.h5ad", counts, obs, {}, IDS, uns={"schema_version": "7.1.0"})
    assert read(tmp_path / "all.h5ad")[1] == "geneformer"


@pytest.mark.parametrize(
    ("given", "implied"),
    [
        (ReadOptions(cell_filter=False), {"gene_id_attr", "compute_n_counts", "layer"}),
        (ReadOptions(cell_filter=True), {"gene_id_attr", "compute_n_counts", "layer"}),
        (
            ReadOptions(names=AttributeNames(filter_pass="is_primary_data")),
            {"gene_id_attr", "compute_n_counts", "layer"},
        ),
        (ReadOptions(cells="tissue == 'lung'"), {"gene_id_attr", "compute_n_counts", "layer"}),
        (ReadOptions(compute_n_counts=False), {"gene_id_attr", "filter_attr", "layer"}),
        (ReadOptions(names=AttributeNames(n_counts="n_counts")), {"gene_id_attr", "filter_attr", "layer"}),
        (ReadOptions(layer="auto"), {"gene_id_attr", "filter_attr", "compute_n_counts"}),
        (ReadOptions(names=AttributeNames(gene_id="ensembl_id")), {"filter_attr", "compute_n_counts", "layer"}),
        (ReadOptions(), {"gene_id_attr", "filter_attr", "compute_n_counts", "layer"}),
    ],
)
def test_options_that_are_given_win_also_with_their_defaults(given, implied, tmp_path):
    path, _ = cellxgene(tmp_path)
    with open_source(str(path), given) as source:
        assert set(source.layout.implied) == implied
        for option in ("cell_filter", "compute_n_counts", "layer"):
            if option in given.given:
                assert getattr(source.options, option) == getattr(given, option)


def test_options_that_suffice_are_all_that_counts(tmp_path):
    """Tables that were converted before layouts were known stay valid."""
    path, _ = cellxgene(tmp_path, raw=False)
    given = ReadOptions(cell_filter=False, compute_n_counts=True, gene_table=TABLE)
    with open_source(str(path), given) as source:
        assert (source.layout.name, source.layout.implied) == ("cellxgene", {})
        assert source.options.as_json() == given.as_json()
    assert "layout" not in given.as_json()


def test_as_json_is_what_it_was_before_there_were_layouts():
    assert ReadOptions().as_json() == {
        "target_sum": 10_000.0,
        "gene_types": ["miRNA", "protein_coding"],
        "gene_table": None,
        "gene_map": None,
        "strip_version": False,
        "names": {
            "n_counts": "n_counts",
            "filter_pass": "filter_pass",
            "gene_id": "ensembl_id",
            "gene_type": "gene_type",
            "cell_id": None,
        },
        "cell_filter": True,
        "compute_n_counts": False,
        "layer": "auto",
        "allow_non_integer": False,
    }


def test_full_length_assays_are_named_unless_they_are_left_out(tmp_path):
    path, _ = cellxgene(tmp_path, assays=("EFO:0009922", "EFO:0008931", "EFO:0700016"))
    (warning,) = outline_of(str(path), OPTIONS).warnings
    primary = np.arange(CELLS) % 5 > 1
    numbers = [int((primary & (np.arange(CELLS) % 3 == kind)).sum()) for kind in (1, 2)]
    assert warning.startswith(f"it holds {numbers[0]} cells of Smart-seq2 and {numbers[1]} cells of Smart-seq v4, ")
    query = "is_primary_data and assay_ontology_term_id not in ['EFO:0008931', 'EFO:0700016']"
    assert outline_of(str(path), replace(OPTIONS, cells=query)).warnings == ()


def test_logarithms_of_the_allen_institute_are_rejected_with_the_name_of_the_counts(tmp_path):
    path = tmp_path / "WMB-10Xv3-HY-log2.h5ad"
    obs = {"cell_barcode": ["ACGT"] * CELLS, "library_label": ["L8TX"] * CELLS}
    write_anndata(path, np.log2(small_counts(1) + 1), obs, {"gene_symbol": SYMBOLS}, IDS)
    message = reason(path)
    assert "holds no counts" in message
    assert str(tmp_path / "WMB-10Xv3-HY-raw.h5ad") in message


def test_symbols_need_a_gene_map(tmp_path):
    path, _ = scenic(tmp_path)
    message = reason(path)
    assert "names genes by symbols, such as 'Sym0'" in message
    assert message.endswith("give --gene-map FILE")


def test_a_gene_table_with_versions_serves_sources_with_and_without(tmp_path):
    versioned = GeneTable("genes.csv", {f"{gene}.9": "protein_coding" for gene in IDS})
    options = ReadOptions(gene_table=versioned)
    for writer in (optimus, cellxgene):
        path, expected = writer(tmp_path)
        assert_same(read(path, options)[0], expected)
        outlined = outline_of(str(path), options)
        assert outlined.row_counts.versions_ignored
        assert outlined.options.as_json()["gene_table"] == options.as_json()["gene_table"]


def test_inspect_shows_what_follows_from_a_layout_and_suggests_nothing(tmp_path):
    path, _ = scanpy(tmp_path)
    findings = dict(examine(str(path), OPTIONS).worded(Style.FLAGS))
    assert findings["layout"] == "scanpy, read as with --no-cell-filter --compute-n-counts --layer counts"
    assert findings["can be used"].startswith("yes")
    assert "would be with" not in findings


def test_inspect_says_what_a_source_without_a_layout_resembles(tmp_path):
    changes = {"filter_pass": None, "n_counts": None, "obs_pass_filter": [1] * CELLS}
    path = write_h5ad(tmp_path / "a.h5ad", small_counts(1).T, **changes)
    findings = dict(examine(path, ReadOptions()).worded(Style.FLAGS))
    assert findings["layout"] == (
        "none that is known; it resembles tahoe (Tahoe-100M), but it lacks the attribute of cells 'tscp_count' and the "
        "attribute of rows 'gene_id'"
    )
    assert findings["can be used"].startswith("no: ")


def test_a_layout_that_has_changed_since_is_not_current():
    assert current(None)
    assert current(AppliedLayout("geneformer"))
    assert not current(AppliedLayout("of tomorrow", {"compute_n_counts": True}))
    assert not current(AppliedLayout("tahoe", {"n_counts_attr": "another"}))
    assert not current(AppliedLayout("cellxgene", {"layer": "spliced"}))
    assert ReadOptions().layout == AUTO_LAYOUT
