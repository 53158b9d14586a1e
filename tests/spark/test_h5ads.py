"""The same cells as looms and as h5ad files: the same parts and the same medians, byte for byte."""

import h5py
import numpy as np
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom
from tables import fingerprint

from median_spark import ConvertOptions, ReadOptions, convert, medians
from median_spark.errors import InputError

pytestmark = pytest.mark.spark

GENES, CELLS = 300, 500
STORAGES = {"gzip": {"compression": "gzip"}, "lzf": {"compression": "lzf"}, "uncompressed": {}}


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def study(number):
    """Return the counts and columns of a study."""
    rng = np.random.default_rng(number)
    counts = random_counts(rng, GENES, CELLS, density=0.3)
    return counts, {
        "ensembl_id": [f"ENSG{(gene * 7) % 280:011d}" for gene in range(GENES)],
        "gene_type": rng.choice(["protein_coding", "miRNA", "lncRNA"], GENES).tolist(),
        "filter_pass": rng.integers(0, 2, CELLS),
        "n_counts": counts.sum(axis=0) + 5.0,
    }


def parts(expression):
    """Return the content of every part, by source."""
    return sorted((path.parent.name, path.read_bytes()) for path in (expression / "values").rglob("*.parquet"))


@pytest.fixture(scope="module")
def of_looms(spark, tmp_path_factory):
    """What comes out of two looms."""
    folder = tmp_path_factory.mktemp("looms")
    for number in range(2):
        counts, columns = study(number)
        write_loom(folder / "corpus" / f"study{number}.loom", counts, **columns)
    convert(str(folder / "corpus"), str(folder / "x"), spark=spark)
    medians(str(folder / "x"), str(folder / "r"), spark=spark)
    return parts(folder / "x"), fingerprint(folder / "r")


@pytest.mark.parametrize("storage", ["gzip", *slow("lzf", "uncompressed")])
@pytest.mark.parametrize("kind", ["csr", *slow("csc"), "dense"])
def test_parts_and_medians_are_those_of_the_looms(spark, tmp_path, of_looms, kind, storage):
    for number in range(2):
        counts, columns = study(number)
        path = tmp_path / "corpus" / f"study{number}.h5ad"
        write_h5ad(path, counts.astype("f4"), kind, storage=STORAGES[storage], **columns)
    convert(str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark)
    medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark)
    assert len(of_looms[0]) == 2
    assert parts(tmp_path / "x") == of_looms[0]
    assert fingerprint(tmp_path / "r") == of_looms[1]


@pytest.mark.parametrize("kind", ["csr", *slow("csc", "dense")])
def test_many_units_give_the_same_medians(spark, tmp_path, of_looms, kind):
    for number in range(2):
        counts, columns = study(number)
        path = tmp_path / "corpus" / f"study{number}.h5ad"
        write_h5ad(path, counts, kind, storage={"chunks": (64, 64), "compression": "gzip"}, **columns)
    done = convert(
        str(tmp_path / "corpus"), str(tmp_path / "x"), spark=spark, options=ConvertOptions(unit_entries=2_000)
    )
    medians(str(tmp_path / "x"), str(tmp_path / "r"), spark=spark)
    assert all(len(record.parts) > 1 for record in done.records)
    found = fingerprint(tmp_path / "r")
    assert found["total_gene_median_dict.pickle"] == of_looms[1]["total_gene_median_dict.pickle"]
    assert found["gene_detection_counts_dict.pickle"] == of_looms[1]["gene_detection_counts_dict.pickle"]


def test_a_layer_is_recorded_and_another_converts_anew(spark, tmp_path):
    counts, columns = study(0)
    write_h5ad(tmp_path / "study.h5ad", counts, layers={"twice": counts * 2}, **columns)
    first = convert(str(tmp_path / "study.h5ad"), str(tmp_path / "x"), spark=spark)
    again = convert(str(tmp_path / "study.h5ad"), str(tmp_path / "x"), spark=spark)
    other = convert(str(tmp_path / "study.h5ad"), str(tmp_path / "x"), spark=spark, reading=ReadOptions(layer="twice"))
    assert (first.converted, again.converted, other.converted) == (["study"], [], ["study"])
    assert [done.records[0].parameters["layer"] for done in (first, again, other)] == ["auto", "auto", "twice"]


def test_counts_found_in_raw_are_recorded_as_a_warning(spark, tmp_path):
    counts, columns = study(0)
    write_h5ad(
        tmp_path / "study.h5ad", np.log1p(counts), raw=counts, raw_var={"gene_type": columns["gene_type"]}, **columns
    )
    done = convert(str(tmp_path / "study.h5ad"), str(tmp_path / "x"), spark=spark)
    assert any("raw.X does, so that was read" in warning for warning in done.records[0].warnings)


def test_fractions_are_refused_before_anything_is_written(spark, tmp_path):
    counts, columns = study(0)
    path = write_h5ad(tmp_path / "study.h5ad", np.log1p(counts), layers={"umis": counts}, **columns)
    with pytest.raises(
        InputError, match=rf"{path}: X holds .* not whole .*: umis holds counts: ReadOptions.layer='umis'., or"
    ):
        convert(path, str(tmp_path / "x"), spark=spark)
    assert not list((tmp_path / "x").rglob("*.parquet"))


def test_damage_that_only_reading_finds_names_the_file(spark, tmp_path):
    counts, columns = study(0)
    path = write_h5ad(tmp_path / "study.h5ad", counts, **columns)
    with h5py.File(path, "r+") as file:
        file["X/indices"][-1] = GENES + 7
    with pytest.raises(InputError, match=rf"{path}: X has the gene number 307 at entry .*, where it has 300 genes"):
        convert(path, str(tmp_path / "x"), spark=spark, reading=ReadOptions(cell_filter=False))
