"""Cell Ranger's folders of outputs: each cell is found once, whatever else lies beside it."""

from pathlib import Path

import pytest

from median_spark.matrices import find_sources
from median_spark.matrices.tenx.outputs import superfluous

NEWER = [
    "outs/filtered_feature_bc_matrix.h5",
    "outs/filtered_feature_bc_matrix/matrix.mtx.gz",
    "outs/raw_feature_bc_matrix.h5",
    "outs/raw_feature_bc_matrix/matrix.mtx.gz",
    "outs/molecule_info.h5",
]
OLD = [
    "outs/filtered_gene_bc_matrices_h5.h5",
    "outs/filtered_gene_bc_matrices/hg19/matrix.mtx",
    "outs/raw_gene_bc_matrices_h5.h5",
    "outs/raw_gene_bc_matrices/hg19/matrix.mtx",
    "outs/molecule_info.h5",
]
MULTI = [
    "outs/per_sample_outs/a/count/sample_filtered_feature_bc_matrix.h5",
    "outs/per_sample_outs/a/count/sample_filtered_feature_bc_matrix/matrix.mtx.gz",
    "outs/per_sample_outs/a/count/sample_raw_feature_bc_matrix.h5",
    "outs/per_sample_outs/a/count/sample_molecule_info.h5",
    "outs/multi/count/raw_feature_bc_matrix.h5",
    "outs/multi/count/raw_feature_bc_matrix/matrix.mtx.gz",
]
GEO = ["GSM1_filtered_feature_bc_matrix.h5", "GSM1_raw_feature_bc_matrix.h5", "GSM2_raw_feature_bc_matrix.h5"]


@pytest.mark.parametrize(
    ("names", "kept"), [(NEWER, NEWER[:1]), (OLD, OLD[:1]), (MULTI, MULTI[:1]), (GEO, [GEO[0], GEO[2]])]
)
@pytest.mark.parametrize("pattern", ["", "/*"])
def test_each_cell_is_found_once(tmp_path, names, kept, pattern):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_sources([f"{tmp_path}{pattern}"])
    assert [source.file.path for source in found] == [str(tmp_path / name) for name in kept]
    assert {Path(one.path) for one in found.passed_over} == {tmp_path / name for name in names if name not in kept}


@pytest.mark.parametrize("name", NEWER)
def test_what_was_named_or_is_alone_is_taken(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert len(find_sources([str(tmp_path / name)])) == 1
    assert len(find_sources([str(tmp_path)])) == 1


def test_reasons_name_where_the_cells_are():
    assert superfluous(NEWER) == {
        NEWER[1]: "it is the same matrix as outs/filtered_feature_bc_matrix.h5",
        NEWER[2]: "it has empty droplets, too: the cells are in outs/filtered_feature_bc_matrix.h5",
        NEWER[3]: "it has empty droplets, too: the cells are in outs/filtered_feature_bc_matrix/matrix.mtx.gz",
        NEWER[4]: "it lists molecules and not counts",
    }


def test_other_names_are_left_alone():
    paths = ["raw/a.h5ad", "raw_feature_bc_matrix/b.loom", "filtered_x/matrix.mtx", "x_raw.h5", "molecule_info.h5ad"]
    assert superfluous(paths) == {}
