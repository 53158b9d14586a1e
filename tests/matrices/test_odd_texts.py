"""Texts as no sound writer leaves them: bytes after a NUL, attributes of any type, and texts of any length."""

import h5py
import numpy as np
import pytest
from h5ads import categorical, write_h5ad
from h5py import h5a, h5d, h5s, h5t
from looms import write_loom
from reading import convert, refusal

from median_spark.errors import InputError
from median_spark.matrices import AttributeNames, ReadOptions, open_matrix, outline_of
from median_spark.matrices.hdf5.lists import first_damaged
from median_spark.verification.inside import DamagedError, texts

COUNTS = [[1, 0, 2], [3, 4, 0]]
PADDINGS = {"term": h5t.STR_NULLTERM, "null": h5t.STR_NULLPAD, "space": h5t.STR_SPACEPAD}
LONG = "x" * 5_000
MOST = 1_500
"""Characters of a message: it quotes several texts of a file, each shortened."""


def put_fixed(group, name, strings, padding, attribute=False):
    """Write strings of fixed length, byte for byte, with a padding that h5py itself never chooses."""
    stored = np.array(strings)
    kind = h5t.C_S1.copy()
    kind.set_size(stored.dtype.itemsize)
    kind.set_strpad(PADDINGS[padding])
    if attribute:
        h5a.create(group.id, name.encode(), kind, h5s.create(h5s.SCALAR)).write(stored[:1].reshape(()), mtype=kind)
        return
    if name in group:
        del group[name]
    space = h5s.create_simple(stored.shape)
    h5d.create(group.id, name.encode(), kind, space).write(h5s.ALL, h5s.ALL, stored, mtype=kind)


FIELDS = {
    "row_attrs/ensembl_id": ([b"ENSG00000000000", b"ENSG00000000001\0\0\xff"], "row attribute 'ensembl_id'"),
    "row_attrs/gene_type": ([b"protein_coding", b"protein_coding\0\0\xff"], "row attribute 'gene_type'"),
    "col_attrs/cell_id": ([b"a", b"b\0b", b"c"], "column attribute 'cell_id'"),
    "col_attrs/filter_pass": ([b"1", b"1\0\x01", b"1"], "column attribute 'filter_pass'"),
}


class TestBytesAfterANul:
    def loom(self, tmp_path, field, padding):
        path = write_loom(tmp_path / "study.loom", COUNTS)
        with h5py.File(path, "r+") as file:
            group, name = field.split("/")
            put_fixed(file[group], name, FIELDS[field][0], padding)
        return path

    @pytest.mark.parametrize("field", FIELDS)
    @pytest.mark.parametrize("padding", ["null", "space"])
    def test_is_damage_where_strings_are_padded(self, tmp_path, field, padding):
        message = refusal(self.loom(tmp_path, field, padding), ReadOptions(filter_values=("1",)))
        assert message.startswith(f"{FIELDS[field][1]} has bytes after the NUL that ends a text, at entry 1 (b'")
        assert message.endswith("); the file is damaged")

    @pytest.mark.parametrize("field", FIELDS)
    def test_is_no_part_of_a_string_that_ends_at_its_first_nul(self, tmp_path, field):
        path = self.loom(tmp_path, field, "term")
        convert(path, ReadOptions(filter_values=("1",)))
        with open_matrix(path, AttributeNames()) as matrix:
            assert matrix.gene_ids().tolist() == ["ENSG00000000000", "ENSG00000000001"]
            assert matrix.gene_types().tolist() == ["protein_coding"] * 2
            assert matrix.cell_ids()[1] in {"b", "cell1"}

    @pytest.mark.parametrize("padding", PADDINGS)
    def test_padding_alone_is_no_damage(self, tmp_path, padding):
        path = write_loom(tmp_path / "study.loom", COUNTS)
        with h5py.File(path, "r+") as file:
            put_fixed(file["row_attrs"], "gene_type", [b"miRNA" + b"\0 "["space" in padding :][:1] * 9, b"x"], padding)
        convert(path)

    @pytest.mark.parametrize("field", ["obs/_index", "var/ensembl_id", "var/gene_type/categories", "obs/filter_pass"])
    def test_in_the_columns_of_an_h5ad(self, tmp_path, field):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=categorical(["miRNA", "protein_coding"]))
        parent, name = field.rsplit("/", 1)
        with h5py.File(path, "r+") as file:
            number = 2 if parent.startswith("var") else 3
            put_fixed(file[parent], name, [b"protein_coding\0\0\xff", b"b", b"c"][:number], "null")
        column = field.removesuffix("/categories").replace("/", " column '")
        message = refusal(path, ReadOptions(filter_values=("b",) if name == "filter_pass" else ()))
        assert message.startswith(f"{column}' has bytes after the NUL that ends a text, at entry 0 (b'protein_coding")

    def test_in_the_attribute_that_names_an_encoding(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS)
        with h5py.File(path, "r+") as file:
            del file["X"].attrs["encoding-type"]
            put_fixed(file["X"], "encoding-type", [b"csr_matrix\0\xff"], "null", attribute=True)
        assert refusal(path) == (
            r"attribute 'encoding-type' of 'X' must be a word; it is b'csr_matrix\x00\xff', which has bytes after the "
            "NUL that ends a text"
        )

    def test_the_first_damaged_of_many(self):
        strings = np.array([b"", b"ab", b"abc", b"a\0c", b"\0bc"])
        assert first_damaged(strings) == 3
        assert first_damaged(strings[::-1]) == 0
        assert first_damaged(strings[:3]) == first_damaged(strings[:0]) == first_damaged(np.array(["a"])) == -1

    def test_verification_calls_it_damage_too(self):
        with pytest.raises(DamagedError, match="at entry 1 of a list has bytes after the NUL"):
            texts(np.array([b"protein_coding", b"protein_coding\0\0\xff"]))
        assert texts(np.array([b"a\0", b"ab"])).tolist() == ["a", "ab"]


def odd_values():
    """Return values of types that attributes of HDF5 can have, and that no word or number has."""
    plain = np.dtype([("a", "<i4"), ("b", "<f8")])
    return {
        "compound": np.zeros((), plain),
        "compounds": np.zeros(1, plain),
        "compound of strings": np.array((b"3.0", b"x"), dtype=[("a", "S3"), ("b", "S1")]),
        "array type": np.zeros((), np.dtype([("a", "<i4", (2, 2))])),
        "enumerated": np.array(1, dtype=h5py.enum_dtype({"x": 0, "y": 1}, basetype="i1")),
        "opaque": np.void(b"\x01\x02\x03"),
        "complex": np.complex128(3 + 1j),
        "empty": h5py.Empty("f8"),
        "empty strings": h5py.Empty(h5py.string_dtype()),
        "numbers": np.arange(3),
        "none": np.zeros(0),
        "truth": np.bool_(True),
        "long float": np.longdouble(3),
        "bytes": np.bytes_(b"3.0\xff"),
        "words": np.array([b"3.0", b"x"]),
        "date": np.array("2020-01-01", dtype="M8[s]").astype(h5py.opaque_dtype(np.dtype("M8[s]"))),
        "lists": "lists",
        "reference": "reference",
        "region": "region",
    }


def put_odd(file, target, name, kind, dataset=False):
    """Write an odd value as an attribute, or as a dataset, of a group."""
    value = odd_values()[kind]
    dtype = getattr(value, "dtype", None)
    if kind == "lists":
        dtype = h5py.vlen_dtype(np.int32)
        value = np.empty(1, dtype=object)
        value[0] = np.arange(3, dtype=np.int32)
    elif kind == "reference":
        value, dtype = file["obs" if "obs" in file else "matrix"].ref, h5py.ref_dtype
    elif kind == "region":
        place = file["obs/_index" if "obs" in file else "matrix"]
        value, dtype = place.regionref[:1], h5py.regionref_dtype
    if dataset:
        if name in target:
            del target[name]
        target.create_dataset(name, data=value, dtype=dtype)
    else:
        target.attrs.create(name, value, dtype=dtype)


def uses(path):
    """Use a matrix in every way that reads attributes for people or for the work; only InputError may come of it."""
    outcomes, refused = [], []
    for use in (
        lambda matrix: matrix.describe(),
        lambda matrix: matrix.warnings(),
        lambda matrix: matrix.count_layers(),
        lambda matrix: matrix.gene_ids(),
        lambda matrix: matrix.gene_types(),
        lambda matrix: matrix.filter_pass(),
    ):
        try:
            with open_matrix(path, AttributeNames()) as matrix:
                outcomes.append(use(matrix))
        except InputError as error:
            refused.append(str(error))
    try:
        outline_of(path, ReadOptions())
    except InputError as error:
        refused.append(str(error))
    assert all(message.startswith(f"{path}: ") and len(message) < len(path) + MOST for message in refused)
    return outcomes


@pytest.mark.parametrize("kind", odd_values())
class TestAttributesOfAnyType:
    @pytest.mark.parametrize("stored", ["dataset", "attribute"])
    def test_the_specification_of_a_loom(self, tmp_path, kind, stored):
        path = write_loom(tmp_path / "study.loom", COUNTS)
        with h5py.File(path, "r+") as file:
            if stored == "attribute":
                del file["attrs/LOOM_SPEC_VERSION"]
            parent = file["attrs"] if stored == "dataset" else file
            put_odd(file, parent, "LOOM_SPEC_VERSION", kind, dataset=stored == "dataset")
        described = dict(uses(path)[0])
        assert described["matrix"].startswith("2 rows × 3 cells")
        assert described["format"].startswith("loom (")

    @pytest.mark.parametrize(
        "place",
        ["X encoding-type", "X shape", "obs _index", "var encoding-type", "var/gene_type encoding-type",
         "obs/n_counts categories", "obs/filter_pass categories", "layers/a encoding-type"],
    )  # fmt: skip
    def test_an_attribute_of_an_h5ad(self, tmp_path, kind, place):
        types = categorical(["miRNA", "protein_coding"])
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=types, layers={"a": COUNTS})
        with h5py.File(path, "r+") as file:
            member, name = place.split(" ")
            file[member].attrs.pop(name, None)
            put_odd(file, file[member], name, kind)
        uses(path)

    @pytest.mark.parametrize("place", ["row_attrs/ensembl_id", "col_attrs/filter_pass", "col_attrs/n_counts"])
    def test_an_attribute_of_rows_or_columns(self, tmp_path, kind, place):
        path = write_loom(tmp_path / "study.loom", COUNTS)
        with h5py.File(path, "r+") as file:
            parent, name = place.split("/")
            put_odd(file, file[parent], name, kind, dataset=True)
        assert uses(path)


def test_the_specification_of_a_compound_type_is_named(tmp_path):
    path = write_loom(tmp_path / "study.loom", COUNTS)
    with h5py.File(path, "r+") as file:
        put_odd(file, file["attrs"], "LOOM_SPEC_VERSION", "compound", dataset=True)
    said = "'LOOM_SPEC_VERSION' must be a word; it holds records (a compound type of the fields a, b)"
    assert refusal(path) == said
    with open_matrix(path, AttributeNames()) as matrix:
        assert matrix.describe()[0] == ("format", f"loom ({said})")


class TestLongTexts:
    def assert_brief(self, path, options=None):
        message = refusal(path, options)
        assert len(message) < MOST
        assert "…" in message

    def test_an_encoding(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS)
        with h5py.File(path, "r+") as file:
            file["X"].attrs["encoding-type"] = LONG
        self.assert_brief(path)

    def test_an_encoding_of_a_column(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", COUNTS, gene_type=categorical(["a", "b"]))
        with h5py.File(path, "r+") as file:
            file["var/gene_type"].attrs["encoding-type"] = LONG
        self.assert_brief(path)

    def test_the_fields_of_a_type(self, tmp_path):
        odd = np.zeros(2, dtype=[(f"{number}{LONG}", "<i4") for number in range(5)])
        self.assert_brief(write_loom(tmp_path / "study.loom", COUNTS, ensembl_id=odd))

    def test_the_names_of_attributes(self, tmp_path):
        more = {f"row_{number}{LONG}": [1, 2] for number in range(5)}
        self.assert_brief(write_loom(tmp_path / "study.loom", COUNTS, ensembl_id=None, **more))

    def test_a_link_into_another_file(self, tmp_path):
        path = write_loom(tmp_path / "study.loom", COUNTS, ensembl_id=None)
        with h5py.File(path, "r+") as file:
            file["row_attrs/ensembl_id"] = h5py.ExternalLink(f"{LONG}.h5", f"/{LONG}")
        self.assert_brief(path)

    @pytest.mark.parametrize("count", [-1, 0.5, np.nan])
    @pytest.mark.parametrize("suffix", ["loom", "h5ad"])
    def test_the_gene_and_the_cell_of_a_count(self, tmp_path, suffix, count):
        write, names = (write_loom, "cell_id") if suffix == "loom" else (write_h5ad, "obs_names")
        long = {"ensembl_id": [f"ENSG00000000001{LONG}", "ENSG00000000002"], names: [LONG, f"{LONG}1", f"{LONG}2"]}
        path = write(tmp_path / f"study.{suffix}", np.array([[count, 1, 1], [1, 1, 1]]), n_counts=np.ones(3), **long)
        self.assert_brief(path, ReadOptions(gene_types=("protein_coding",)))

    def test_the_layer_that_holds_counts(self, tmp_path):
        path = write_h5ad(tmp_path / "study.h5ad", np.array(COUNTS) + 0.5, layers={LONG: COUNTS})
        self.assert_brief(path)

    def test_a_description(self, tmp_path):
        more = {f"obs_{LONG}": [1, 2, 3], f"var_{LONG}": [1, 2], "layers": {LONG: COUNTS}, "obs_names": [LONG] * 3}
        h5ad = write_h5ad(tmp_path / "study.h5ad", COUNTS, **more)
        loom = write_loom(tmp_path / "study.loom", COUNTS, **{f"row_{LONG}": [1, 2]})
        with h5py.File(loom, "r+") as file:
            file[f"layers/{LONG}"] = COUNTS
            del file["attrs/LOOM_SPEC_VERSION"]
            file["attrs/LOOM_SPEC_VERSION"] = f"3{LONG}"
        for path in (h5ad, loom):
            with open_matrix(path, AttributeNames()) as matrix:
                assert max(len(text) for pair in matrix.describe() for text in pair) < MOST
