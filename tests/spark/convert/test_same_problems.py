"""What inspect says of a matrix that cannot be used is what a conversion says of it, and the others are converted."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from h5ads import write_h5ad
from looms import random_counts, write_loom

from median_spark import ConvertOptions, convert
from median_spark.cli.main import main
from median_spark.inspection import examine
from median_spark.options import Style

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROWS, CELLS = 30, 20
COUNTS = random_counts(np.random.default_rng(5), ROWS, CELLS, density=0.4)


def with_count(value):
    """Return counts of which one, in a cell that is far from those that are looked at first, is something else."""
    counts = COUNTS.astype(float)
    counts[3, -1] = value
    return counts


CHANGES = {
    "no totals": {"n_counts": None},
    "totals of another length": {"n_counts": [1.0]},
    "totals that are texts": {"n_counts": ["1"] * CELLS},
    "totals of zero": {"n_counts": [0.0] * CELLS},
    "a total of zero in the last cell": {"n_counts": [9.0] * (CELLS - 1) + [0.0], "matrix": with_count(5)},
    "no filter": {"filter_pass": None},
    "a filter of texts": {"filter_pass": ["full", "minimal"] * (CELLS // 2)},
    "a filter of zeros": {"filter_pass": [0] * CELLS},
    "a filter of another length": {"filter_pass": [1]},
    "no gene types": {"gene_type": None},
    "other gene types": {"gene_type": ["lncRNA"] * ROWS},
    "a gene type short": {"gene_type": ["miRNA"]},
    "a negative count": {"matrix": with_count(-1)},
    "a fraction": {"matrix": with_count(0.25), "n_counts": [9.0] * CELLS},
    "an infinite count": {"matrix": with_count(np.inf), "n_counts": [9.0] * CELLS},
    "a count of NaN": {"matrix": with_count(np.nan), "n_counts": [9.0] * CELLS},
    "no cell": {"matrix": np.zeros((ROWS, 0), int)},
}


def write(path, changes):
    changes = dict(changes)
    counts = changes.pop("matrix", COUNTS)
    return (write_loom if path.suffix == ".loom" else write_h5ad)(path, counts, **changes)


def damage(path):
    """Write files that are no matrix, cut off, without their matrix, and with damaged tiles."""
    (path / "text.loom").write_text("gene,cell\n")
    (path / "empty.h5ad").touch()
    for name in ("cut.loom", "cut off.h5ad"):
        whole = Path(write(path / name, {})).read_bytes()
        (path / name).write_bytes(whole[: len(whole) * 2 // 3])
    for name, held in (("bare.loom", "matrix"), ("bare of X.h5ad", "X")):
        with h5py.File(write(path / name, {}), "r+") as file:
            del file[held]
    with h5py.File(write(path / "tile.loom", {})) as file:
        tile = file["matrix"].id.get_chunk_info(0)
    with (path / "tile.loom").open("r+b") as file:
        file.seek(tile.byte_offset + tile.size // 2)
        file.write(b"\xff" * 8)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, changes in CHANGES.items():
        write(folder / f"{name}.loom", changes)
        write(folder / f"of anndata, {name}.h5ad", changes)
    damage(folder)
    for name in ("good.loom", "fine.h5ad"):
        write(folder / name, {})
    return folder


def test_a_conversion_and_inspect_say_the_same(spark, corpus, tmp_path, capsys):
    done = convert(str(corpus), str(tmp_path / "x"), spark=spark, options=ConvertOptions(on_error="skip"))
    assert done.converted == ["fine", "good"]
    files = {str(path) for path in corpus.iterdir()}
    failed = {failure.path: failure.as_json()["reason"] for failure in done.failures}
    assert set(failed) == {path for path in files if not path.endswith(("good.loom", "fine.h5ad"))}
    problems = {path: examine(path).problem for path in failed}
    assert failed == {path: problem.worded(Style.FLAGS) for path, problem in problems.items()}
    assert {failure.path: failure.reason for failure in done.failures} == {
        path: str(problem) for path, problem in problems.items()
    }
    capsys.readouterr()
    for path in sorted(files):
        assert main(["inspect", path]) == (2 if path in failed else 0)
        said = capsys.readouterr()
        sentence = failed.get(path, "yes, in 1 unit of work").removeprefix(f"{path}: ")
        assert sentence in said.out + said.err
