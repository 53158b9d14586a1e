"""Inputs that are patterns: what they match, and what it is called."""

import pytest

from median_spark import storage
from median_spark.errors import InputError, UsageError
from median_spark.matrices import find_sources


@pytest.fixture
def corpus(tmp_path):
    for name in (
        "a/x/one.loom",
        "a/y/one.loom",
        "a/y/two.H5AD",
        "b/three.loom",
        "b/.hidden.loom",
        "b/note.txt",
        "[c]/1.loom",
    ):
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).write_bytes(b"")
    return tmp_path / "corpus"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["[c]/1", "a/x/one", "a/y/one", "a/y/two", "b/three"]),
        ("?", ["a/x/one", "a/y/one", "a/y/two", "b/three"]),
        ("a/*/one.loom", ["x/one", "y/one"]),
        ("a/[!x]", ["y/one", "y/two"]),
        ("*/*.loom", ["[c]/1", "b/three"]),
        ("*/y/*.H5AD", ["a/y/two"]),
        ("a/*/", ["x/one", "y/one", "y/two"]),
        ("[c]", ["1"]),  # there is such a folder
        ("[c]/1.loom", ["1"]),
    ],
)
def test_what_matches_is_named_by_its_path_below_the_part_without_signs(corpus, pattern, names):
    found = find_sources([f"{corpus}/{pattern}"])
    assert [source.name for source in found] == names
    assert all(storage.stat(source.file.path) == source.file for source in found)


def test_patterns_and_paths_go_together(corpus):
    found = find_sources([f"{corpus}/a/*/one.loom", str(corpus / "b")])
    assert [source.name for source in found] == ["three", "x/one", "y/one"]


def test_one_file_is_not_taken_under_two_names(corpus):
    with pytest.raises(UsageError, match="was given twice, as the sources 'one' and 'x/one'"):
        find_sources([f"{corpus}/a/x/one.loom", f"{corpus}/a/*/*.loom"])


def test_a_pattern_without_a_match_says_what_there_is(corpus):
    with pytest.raises(InputError, match=r"a/\*/z: no \.loom, .* file matches; .*/corpus/a holds 'x/one.loom', "):
        find_sources([f"{corpus}/a/*/z"])
    with pytest.raises(InputError, match=r"there is no folder .*/corpus/z in which to look"):
        find_sources([f"{corpus}/z/*/one.loom"])


def test_a_pattern_in_a_folder_without_matrices_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty/a\[1\]\*: no .* file matches; .*/empty holds none$"):
        find_sources([f"{tmp_path}/empty/a[1]*"])
