"""Finding sources: each file once whatever leads to it, and names of any kind, which concern their own file only."""

import os
import shutil
import socket
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looms import random_counts
from reading import assert_same, read
from zarrs import write_zarr

from examples import examples
from median_spark import storage
from median_spark.errors import InputError, UsageError
from median_spark.matrices import AttributeNames, SourceFile, equal_contents, equal_files, find_sources, open_matrix
from median_spark.matrices.formats import Format
from median_spark.matrices.loom import LoomMatrix

FOLDERS = ("", "a", "a/b", "c")
CHINESE = "单细胞转录组测序数据集第一批样本人类心脏组织左"


def beside_it(name, beside):
    """Return the barcodes of a matrix's file."""
    prefix = name.partition("matrix.mtx")[0]
    return [f"{prefix}barcodes.tsv"] if f"{prefix}barcodes.tsv" in beside else []


def touch(folder, *names):
    for name in names:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names_of(*inputs):
    return [source.name for source in find_sources([str(one) for one in inputs])]


class TestLinks:
    @pytest.mark.parametrize("target", [".", "..", "../..", "/"])
    @pytest.mark.parametrize("place", ["again", "a/again", "a/b/again"])
    def test_a_link_that_leads_back_up_is_not_followed_and_said(self, tmp_path, place, target):
        corpus = tmp_path / "above" / "corpus"
        touch(corpus, "one.loom", "a/b/two.loom")
        (corpus / place).symlink_to(corpus / "a" if target == "." and place != "again" else target)
        found = find_sources([str(corpus)])
        assert [source.name for source in found] == ["a/b/two", "one"]
        (note,) = found.notes()
        assert note.startswith(f"note: {corpus}/{place} was passed over: it ")

    @pytest.mark.parametrize("make", ["symlink", "hard link"])
    @pytest.mark.parametrize("name", ["0.loom", "z.loom", "sub/x.loom"])
    def test_a_second_name_of_a_file_is_passed_over_and_said(self, tmp_path, make, name):
        touch(tmp_path, "m.loom", "sub/other.loom")
        path = tmp_path / name
        path.symlink_to(tmp_path / "m.loom") if make == "symlink" else path.hardlink_to(tmp_path / "m.loom")
        found = find_sources([str(tmp_path)])
        kept = min(name, "m.loom") if make == "hard link" else "m.loom"
        other = {name, "m.loom"} - {kept}
        assert [source.name for source in found] == sorted([kept.removesuffix(".loom"), "sub/other"])
        assert found.notes() == [
            f"note: {tmp_path}/{other.pop()} was passed over: it is the same file as {tmp_path}/{kept}"
        ]

    def test_of_links_alone_the_smallest_name_is_taken(self, tmp_path):
        touch(tmp_path / "store", "x.loom")
        (tmp_path / "corpus").mkdir()
        for name in ("c", "a", "b"):
            (tmp_path / "corpus" / f"{name}.loom").symlink_to(tmp_path / "store" / "x.loom")
        assert names_of(tmp_path / "corpus") == ["a"]

    def test_links_to_a_folder_outside_are_followed_once(self, tmp_path):
        touch(tmp_path / "outside", "x.loom", "deep/y.loom")
        touch(tmp_path / "corpus", "own.loom")
        for name in ("second", "first"):
            (tmp_path / "corpus" / name).symlink_to(tmp_path / "outside")
        found = find_sources([str(tmp_path / "corpus")])
        assert [source.name for source in found] == ["first/deep/y", "first/x", "own"]
        assert [one.path for one in found.passed_over] == [f"{tmp_path}/corpus/second"]

    def test_two_inputs_of_one_folder_by_a_link_are_one(self, tmp_path):
        touch(tmp_path / "corpus", "x.loom")
        (tmp_path / "link").symlink_to("corpus")
        found = find_sources([f"{tmp_path}/link", f"{tmp_path}/corpus"])
        assert [source.file.path for source in found] == [f"{tmp_path}/corpus/x.loom"]
        assert len(found.passed_over) == 1

    def test_a_file_that_was_named_twice_by_links_is_refused(self, tmp_path):
        touch(tmp_path, "x.loom")
        (tmp_path / "y.loom").symlink_to("x.loom")
        with pytest.raises(UsageError, match=r"y\.loom and .*/x\.loom are one file, given twice"):
            find_sources([f"{tmp_path}/y.loom", f"{tmp_path}/x.loom"])

    def test_a_pattern_goes_through_a_link_to_a_folder_beside(self, tmp_path):
        touch(tmp_path, "v1/x.loom", "v2/x.loom")
        (tmp_path / "latest").symlink_to("v2")
        assert names_of(f"{tmp_path}/la*/x.loom") == ["latest/x"]
        assert names_of(f"{tmp_path}/la*") == ["latest/x"]
        assert names_of(f"{tmp_path}/*/x.loom") == ["v1/x", "v2/x"]

    @examples(60)
    @given(st.data())
    def test_in_any_tree_of_links_each_file_is_found_once_and_the_same_again(self, data):
        with tempfile.TemporaryDirectory() as scratch:
            root, outside = Path(scratch) / "root", Path(scratch) / "outside"
            for folder in FOLDERS:
                for above in (root, outside):
                    if folder == "" or data.draw(st.booleans()):
                        touch(above / folder, "f.loom")
            links = data.draw(st.lists(st.tuples(st.sampled_from(FOLDERS), st.integers(0, 9)), max_size=6))
            targets = [*(root / one for one in FOLDERS), *(outside / one for one in FOLDERS), Path(scratch)]
            files = [path / "f.loom" for path in targets]
            for number, (folder, kind) in enumerate(links):
                (root / folder).mkdir(parents=True, exist_ok=True)
                target = data.draw(st.sampled_from(files if kind == 0 else targets))
                (root / folder / f"{'l' if kind % 2 else '0'}{number}{'.loom' if kind == 0 else ''}").symlink_to(target)
            found = find_sources([str(root)])
            real = [os.path.realpath(source.file.path) for source in found if Path(source.file.path).exists()]
            assert len(set(real)) == len(real)
            own = {str(path) for path in root.rglob("f.loom") if not path.is_symlink()}
            own = {path for path in own if os.path.realpath(path) == path.replace(scratch, os.path.realpath(scratch))}
            assert own <= {source.file.path for source in found}
            assert find_sources([str(root)]) == found


class TestOddNames:
    @pytest.mark.parametrize("raw", [b"\xff", b"caf\xe9", b"a\xed\xa0\x80", b"\xc3("])
    @pytest.mark.parametrize("place", [b"%s.loom", b"%s/one.loom", b"sub/%s/deep/one.loom"])
    def test_a_name_that_is_no_utf8_is_a_problem_of_its_own_file(self, tmp_path, raw, place):
        touch(tmp_path, "good.loom")
        path = tmp_path / os.fsdecode(place % raw)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        good, bad = sorted(find_sources([str(tmp_path)]), key=lambda source: source.problem is not None)
        assert (good.name, good.problem) == ("good", None)
        assert "is not valid UTF-8: rename it" in bad.problem
        assert "\\x" in bad.name
        for text in (bad.name, bad.problem, bad.file.path, storage.encode_name(bad.name)):
            assert text.encode()

    @pytest.mark.parametrize("raw", [b"\xff.txt", b"\xff\xfe"])
    def test_a_bystander_whose_name_is_no_utf8_is_no_matter(self, tmp_path, raw):
        touch(tmp_path, "good.loom")
        (tmp_path / os.fsdecode(raw)).touch()
        assert [(source.name, source.problem) for source in find_sources([str(tmp_path)])] == [("good", None)]
        assert len(storage.names_in(str(tmp_path))) == 2

    @pytest.mark.parametrize("given", ["/data/\udcff", "/data/a\0b", "s3://bucket/\udcff"])
    def test_an_input_that_is_no_text_is_refused(self, given):
        with pytest.raises(UsageError, match="not valid UTF-8: rename"):
            find_sources([given])

    @pytest.mark.parametrize("name", [CHINESE, "ü" * 120, "é" * 80, "a b" * 80, "🧬" * 50, "x" * 250, "'\"#" * 80])
    @pytest.mark.parametrize("below", ["", "deep/" * 40, f"{CHINESE}/" * 9])
    def test_a_long_name_fits_a_folder_and_is_found_again(self, tmp_path, name, below):
        touch(tmp_path, f"{below}{name}.loom")
        touch(tmp_path, f"{below}{name[:-1]}+.loom")
        (one, other) = find_sources([str(tmp_path)])
        assert one.problem is other.problem is None
        assert one.name != other.name
        for source in (one, other):
            encoded = storage.encode_name(source.name)
            assert len(encoded.encode()) <= 200
            assert storage.decode_name(encoded) == source.name
            storage.write_bytes(f"{tmp_path}/table/source={encoded}/part", b"")
            storage.write_bytes(f"{tmp_path}/table/{encoded}.json", b"")

    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=300))
    def test_any_name_is_encoded_and_decoded(self, name):
        fitted = storage.fitted_name(name)
        encoded = storage.encode_name(fitted)
        assert storage.decode_name(encoded) == fitted
        assert len(encoded.encode()) <= 200
        assert not set(encoded) & set('/=:?*"\\\n\0')
        assert fitted == name or len(storage.encode_name(name).encode()) > 200

    def test_a_short_name_is_encoded_as_ever(self):
        assert storage.encode_name("a/ü b=1") == "a%2F%C3%BC%20b%3D1"


class TestNotFiles:
    @pytest.fixture(params=["a named pipe", "a socket", "a device"])
    def odd(self, request, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        if request.param == "a named pipe":
            os.mkfifo("odd.loom")
        elif request.param == "a socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("odd.loom")
        else:
            Path("odd.loom").symlink_to("/dev/null")
        return request.param

    def test_in_a_folder_is_a_source_with_a_problem(self, tmp_path, odd):
        touch(tmp_path, "good.loom")
        found = find_sources([str(tmp_path)])
        problems = {source.name: source.problem for source in found}
        assert problems == {"good": None, "odd": f"{tmp_path}/odd.loom: this is {odd}, not a file"}

    def test_named_as_an_input_is_refused(self, tmp_path, odd):
        with pytest.raises(InputError, match=rf"^{tmp_path}/odd\.loom: this is {odd}, not a file$"):
            find_sources([f"{tmp_path}/odd.loom"])

    def test_links_in_a_circle_are_sources_that_cannot_be_read(self, tmp_path):
        (tmp_path / "a.loom").symlink_to("b.loom")
        (tmp_path / "b.loom").symlink_to("a.loom")
        assert names_of(tmp_path) == ["a", "b"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable to root")
    def test_a_folder_that_cannot_be_listed_is_a_source_with_a_problem(self, tmp_path):
        touch(tmp_path, "good.loom", "closed/x.loom")
        (tmp_path / "closed").chmod(0)
        try:
            found = find_sources([str(tmp_path)])
        finally:
            (tmp_path / "closed").chmod(0o700)
        assert [source.name for source in found] == ["closed", "good"]
        assert found[0].problem == f"{tmp_path}/closed: this folder cannot be listed (Permission denied)"


class TestEqualContents:
    def sources(self, folder, **contents):
        for name, content in contents.items():
            (folder / f"{name}.loom").write_bytes(content)
        return find_sources([str(folder)])

    @pytest.mark.parametrize("size", [1, 1_000, 64 << 10, 3 << 20])
    def test_copies_are_named(self, tmp_path, size):
        content = os.urandom(size)
        found = equal_contents(self.sources(tmp_path, a=content, b=content, c=content + b"1"))
        assert len(found) == 1
        assert f"{tmp_path}/a.loom and {tmp_path}/b.loom have the same" in found[0]
        assert ("in 18 places" in found[0]) == (size > 18 * (64 << 10))

    @pytest.mark.parametrize("place", [0, 500_000, 999_999])
    def test_a_small_file_is_compared_whole(self, tmp_path, place):
        content = bytearray(os.urandom(1_000_000))
        other = bytearray(content)
        other[place] ^= 1
        assert equal_contents(self.sources(tmp_path, a=bytes(content), b=bytes(other))) == []

    def test_empty_files_and_those_of_other_sizes_are_not_read(self, tmp_path):
        assert equal_contents(self.sources(tmp_path, a=b"", b=b"", c=b"1")) == []
        gone = [SourceFile(name, storage.FileStat(f"/nowhere/{name}.loom", size, 0)) for size, name in enumerate("abc")]
        assert equal_contents(gone) == []

    def test_a_file_that_cannot_be_read_is_left_to_the_conversion(self, tmp_path):
        found = [*self.sources(tmp_path, a=b"1", b=b"1"), SourceFile("c", storage.FileStat("/nowhere/c.loom", 1, 0))]
        (warning,) = equal_contents(found)
        assert "c.loom" not in warning

    def test_many_copies_are_said_in_few_lines(self, tmp_path):
        contents = {f"f{number:02d}": bytes([number // 4]) * (number // 4 + 1) for number in range(20)}
        found = equal_contents(self.sources(tmp_path, **contents))
        assert len(found) == 4
        assert "f00.loom, " in found[0]
        assert "and 2 more have" in found[0]
        assert found[3] == "warning: 2 more groups of files have equal content likewise"

    def test_no_more_than_so_many_are_compared(self, tmp_path, monkeypatch):
        monkeypatch.setattr(equal_files, "_MOST_COMPARED", 3)
        found = equal_contents(self.sources(tmp_path, a=b"1", b=b"2", c=b"1", d=b"1", e=b"1"))
        assert "a.loom and" in found[0]
        assert found[1] == "note: 2 files of the same size as others were not compared with them"


class TestMatricesOfSeveralFiles:
    """Folders that are one matrix, and files that make one with those beside them."""

    FORMATS = (
        Format("loom", LoomMatrix, (".loom",)),
        Format("folder", LoomMatrix, (".store",), marks=(".mark", "__group")),
        Format("trio", LoomMatrix, ("matrix.mtx", "matrix.mtx.gz"), companions=beside_it),
        Format("table", LoomMatrix, (".table",), only_named=True),
    )

    def found(self, folder, names, *inputs):
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 10)
        sources = find_sources([str(folder / one) for one in inputs or ("",)], self.FORMATS)
        return {source.name: (source.file.path[len(str(folder)) :], source.file.size) for source in sources}

    def test_a_folder_with_a_mark_is_one_source_and_not_searched(self, tmp_path):
        names = ["a/one.store/.mark", "a/one.store/X/.mark", "a/one.store/X/0", "a/one.store/raw.loom", "two/__group/t"]
        assert self.found(tmp_path, [*names, "three.loom"]) == {
            "a/one": ("/a/one.store", 40),
            "two": ("/two", 10),
            "three": ("/three.loom", 10),
        }

    def test_a_folder_that_was_named_is_one_source(self, tmp_path):
        assert self.found(tmp_path, ["b.store/.mark", "b.store/x/y"], "b.store") == {"b": ("/b.store", 20)}
        assert self.found(tmp_path, [], "*.store") == {"b": ("/b.store", 20)}

    def test_files_that_belong_together_are_one_source(self, tmp_path):
        names = [
            "s1/matrix.mtx.gz",
            "s1/barcodes.tsv",
            "geo/GSM1_a_matrix.mtx",
            "geo/GSM1_a_barcodes.tsv",
            "geo/GSM2.matrix.mtx",
        ]
        expected = {
            "s1": ("/s1/matrix.mtx.gz", 20),
            "geo/GSM1_a": ("/geo/GSM1_a_matrix.mtx", 20),
            "geo/GSM2": ("/geo/GSM2.matrix.mtx", 10),
        }
        assert self.found(tmp_path, names) == expected
        assert self.found(tmp_path, [], "s1") == {"s1": expected["s1"]}
        assert self.found(tmp_path, [], "s1/matrix.mtx.gz") == {"s1": expected["s1"]}
        assert self.found(tmp_path, [], "*/*.mtx*") == expected

    def test_what_must_be_named_is_taken_only_where_there_is_nothing_else(self, tmp_path):
        assert self.found(tmp_path, ["a.table", "b.table"]) == {"a": ("/a.table", 10), "b": ("/b.table", 10)}
        assert self.found(tmp_path, ["c.loom"]) == {"c": ("/c.loom", 10)}
        assert self.found(tmp_path, [], "*.table") == {"a": ("/a.table", 10), "b": ("/b.table", 10)}


class TestZippedStores:
    """A zarr store in a zip file is named, with what to do, wherever it is met."""

    ADVICE = "it is a zarr store in a zip file, which cannot be read: unzip it with `unzip 'a.zarr.zip' -d 'a.zarr'`"

    def test_as_an_input(self, tmp_path):
        touch(tmp_path, "a.zarr.zip")
        with pytest.raises(InputError) as refused:
            find_sources([f"{tmp_path}/a.zarr.zip"])
        assert str(refused.value) == f"{tmp_path}/a.zarr.zip: {self.ADVICE}"

    def test_as_a_matrix(self, tmp_path):
        touch(tmp_path, "a.zarr.zip")
        with pytest.raises(InputError) as refused:
            open_matrix(f"{tmp_path}/a.zarr.zip", AttributeNames())
        assert str(refused.value) == f"{tmp_path}/a.zarr.zip: {self.ADVICE}"

    def test_beside_other_matrices(self, tmp_path):
        touch(tmp_path, "a.zarr.zip", "b.loom", ".c.zarr.zip", "d.zip")
        found = find_sources([str(tmp_path)])
        assert [source.name for source in found] == ["b"]
        assert [(one.path, one.why) for one in found.passed_over] == [(f"{tmp_path}/a.zarr.zip", self.ADVICE)]

    def test_that_advice_makes_the_store_readable(self, tmp_path):
        counts = random_counts(np.random.default_rng(2), 9, 7)
        path = write_zarr(tmp_path / "made" / "a.zarr", counts)
        shutil.make_archive(f"{tmp_path}/a.zarr", "zip", path)
        with zipfile.ZipFile(tmp_path / "a.zarr.zip") as zipped:  # as `unzip` does
            zipped.extractall(tmp_path / "a.zarr")
        assert_same(read(tmp_path / "a.zarr"), read(path))
