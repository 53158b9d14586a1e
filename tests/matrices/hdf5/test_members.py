"""A matrix is one file: whatever leads out of it is refused, wherever it stands, before anything of it is read."""

import shutil

import h5py
import numpy as np
import pytest
from h5ads import categorical, write_h5ad
from looms import random_counts, write_loom

from median_spark import ReadOptions
from median_spark.errors import InputError
from median_spark.matrices import Unit, outline_of, values_of
from median_spark.verification.inputs import _matrix_rows
from median_spark.verification.naming import Naming

GENES, CELLS = 12, 9
COUNTS = random_counts(np.random.default_rng(5), GENES, CELLS, density=0.6)
LOOM = ["matrix", "row_attrs/ensembl_id", "row_attrs/gene_type", "col_attrs/n_counts", "col_attrs/filter_pass",
        "col_attrs/cell_id", "row_attrs", "col_attrs"]  # fmt: skip
H5AD = ["X", "X/data", "X/indices", "X/indptr", "obs", "var", "obs/n_counts", "obs/filter_pass", "obs/_index",
        "var/ensembl_id", "var/gene_type", "var/gene_type/codes", "var/gene_type/categories"]  # fmt: skip
GROUPS = {"row_attrs", "col_attrs", "X", "obs", "var", "var/gene_type"}
PLACES = [("s.loom", place) for place in LOOM] + [("s.h5ad", place) for place in H5AD]


def write(path):
    if path.suffix == ".loom":
        write_loom(path, COUNTS)
    else:
        write_h5ad(path, COUNTS, gene_type=categorical(["protein_coding"] * GENES))
    return str(path)


def read(path):
    options = ReadOptions()
    runs, cells, _ = values_of(path, Unit(0, 0, CELLS), options)
    return outline_of(path, options), runs.values.tolist(), cells["cell"].to_pylist()


def read_to_verify(path):
    """Read what `verify --inputs` compares, by code of its own."""
    options = ReadOptions()
    record = {"input": {"path": path}, "parameters": options.as_json()}
    genes = [f"ENSG{number:011d}" for number in range(GENES)]
    found, _ = _matrix_rows(record, Naming("s", record["parameters"], None), None, genes, [])
    return [(gene, cells, values.tolist()) for gene, cells, values in found]


def link_out(file, place, other):
    del file[place]
    file[place] = h5py.ExternalLink(other, f"/{place}")


def link_out_by_a_soft_link(file, place, other):
    link_out(file, place, other)
    file.move(place, "elsewhere")
    file[place] = h5py.SoftLink("/elsewhere")


def make_virtual(file, place, other):
    values = held(file, place)
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[:] = h5py.VirtualSource(other, place, values.shape)
    del file[place]
    file.create_virtual_dataset(place, layout)


def make_virtual_of_itself(file, place, other):
    make_virtual(file, place, ".")


def keep_outside(file, place, other):
    values = held(file, place)
    if values.dtype.kind == "O":
        values = values.astype("S32")
    del file[place]
    file.create_dataset(place, values.shape, values.dtype, external=[(other, 0, h5py.h5f.UNLIMITED)])


def held(file, place):
    if not isinstance(file[place], h5py.Dataset):
        pytest.skip("a group is never virtual, and has no storage")
    return file[place][()]


WAYS = [link_out, link_out_by_a_soft_link, make_virtual, make_virtual_of_itself, keep_outside]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "place"), PLACES)
@pytest.mark.parametrize("other", ["there", "missing"])
def test_what_leads_out_of_the_file_is_refused_by_its_name(tmp_path, name, place, way, other):
    path = write(tmp_path / name)
    elsewhere = tmp_path / f"other-{name}"
    if other == "there":
        shutil.copyfile(path, elsewhere)
    with h5py.File(path, "r+") as file:
        way(file, place, str(elsewhere))
    with pytest.raises(InputError, match=rf"^{path}: .*a matrix must be one file"):
        read_to_verify(path)
    with pytest.raises(InputError, match=rf"^{path}: .*a matrix must be one file") as error:
        read(path)
    assert way is make_virtual_of_itself or str(elsewhere) in str(error.value)
    assert ("made of itself" in str(error.value)) == (way is make_virtual_of_itself)
    assert ("there is no such file" in str(error.value)) == (other == "missing" and way is not make_virtual_of_itself)


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_links_within_the_file_are_followed(tmp_path, name, place):
    path = write(tmp_path / name)
    expected, verified = read(path)[1:], read_to_verify(path)
    with h5py.File(path, "r+") as file:
        file.move(place, "kept")
        file[place] = h5py.SoftLink("/kept")
    assert read(path)[1:] == expected
    assert read_to_verify(path) == verified


@pytest.mark.parametrize("name", ["s.loom", "s.h5ad"])
def test_a_bystander_that_leads_out_of_the_file_harms_nothing(tmp_path, name):
    path = write(tmp_path / name)
    expected, verified = read(path)[1:], read_to_verify(path)
    axes = ("row_attrs", "col_attrs", "layers") if name == "s.loom" else ("obs", "var", "layers", "uns")
    with h5py.File(path, "r+") as file:
        for axis in axes:
            file.require_group(axis)["bystander"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert read(path)[1:] == expected
    assert read_to_verify(path) == verified


def test_a_link_that_leads_back_to_itself_is_refused(tmp_path):
    path = write(tmp_path / "s.loom")
    with h5py.File(path, "r+") as file:
        del file["matrix"]
        file["matrix"] = h5py.SoftLink("/again")
        file["again"] = h5py.SoftLink("/matrix")
    with pytest.raises(InputError, match="is a link that leads back to itself"):
        read(path)
    with pytest.raises(InputError, match="leads back to itself"):
        read_to_verify(path)


@pytest.mark.parametrize("name", ["s.loom", "s.h5ad"])
def test_what_is_compared_is_what_was_read(tmp_path, name):
    path = write(tmp_path / name)
    _, values, cells = read(path)
    found = read_to_verify(path)
    assert [value for _, _, part in found for value in part] == values
    assert {cell for _, part, _ in found for cell in part} <= set(cells)


@pytest.mark.parametrize("way", [link_out, link_out_by_a_soft_link, make_virtual, keep_outside])
@pytest.mark.parametrize(("name", "place"), PLACES)
def test_what_the_refusal_says_to_do_makes_one_file_of_it(tmp_path, name, place, way):
    path = write(tmp_path / name)
    expected, elsewhere = read(path)[1:], tmp_path / f"other-{name}"
    shutil.copyfile(path, elsewhere)
    with h5py.File(path, "r+") as file:
        if way is keep_outside:
            values = held(file, place)
            (values.astype("S32") if values.dtype.kind == "O" else values).tofile(elsewhere)
        way(file, place, str(elsewhere))
    with pytest.raises(InputError) as error:
        read(path)
    advice = str(error.value).rpartition(": ")[2]
    with h5py.File(path, "r+") as file:
        exec(advice, {"file": file})
    elsewhere.unlink()
    assert read(path)[1:] == expected


def shorten_a_chunk(file, place, storage):
    """Store a dataset again, its first chunk without filters and a byte short, which HDF5 does not notice."""
    held = file[place]
    values, dtype, attributes = held[()], held.id.get_type(), dict(held.attrs)
    del file[place]
    again = file.create_dataset(place, values.shape, dtype, chunks=values.shape, **storage)
    again[...] = values
    again.attrs.update(attributes)
    size = values.size * dtype.get_size()
    again.id.write_direct_chunk(
        (0,) * values.ndim, bytes(size - 1), (1 << again.id.get_create_plist().get_nfilters()) - 1
    )


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}], ids=str)
@pytest.mark.parametrize(("name", "place"), [held for held in PLACES if held[1] not in GROUPS])
def test_a_chunk_that_is_short_is_refused(tmp_path, name, place, storage):
    path = write(tmp_path / name)
    with h5py.File(path, "r+") as file:
        shorten_a_chunk(file, place, storage)
    with pytest.raises(InputError, match=r"where (it must have|a tile has) [0-9,]+"):
        read(path)
    with pytest.raises(InputError, match=r"has a chunk of [0-9,]+ bytes"):
        read_to_verify(path)
