"""Where the independent reader finds the parts of sources, whatever their names."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import storage
from median_spark.errors import TableError
from median_spark.verification.stored import SourceFolders, StoredSource, stored_records

NAMES = [
    "database1/data/study1", "Studie Ä & 50 %", "数据/" + "研究" * 20, "a=b/c%2Fd", "細胞" * 15 + "?&=%/:#",
    "x" * 200, "%2F" * 40 + "/é", "é" * 50,
]  # fmt: skip


def stored_source(expression, name, folders):
    record = {"source": name, "conversion": "c", "parts": [{"name": "part-0.parquet"}]}
    return StoredSource(str(expression), record, {name: record}, folders)


def test_the_folder_of_a_run_is_told_from_its_table(tmp_path):
    (tmp_path / "expression").mkdir()
    (tmp_path / "medians").mkdir()
    with pytest.raises(TableError, match=rf"the folder of a run .* did you mean {tmp_path}/expression\?"):
        stored_records(str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_found_under_every_name(tmp_path, name):
    written = pa.table({"gene": ["g"], "cell": ["c"], "value": [1.0]})
    for other in (name, "another", name + "0"):
        folder = tmp_path / "values" / f"source={storage.encode_name(other)}"
        folder.mkdir(parents=True)
        pq.write_table(written if other == name else written.slice(0, 0), folder / "part-0.parquet")
    source = stored_source(tmp_path, name, SourceFolders(str(tmp_path)))
    assert source.stored_rows() == 1
    assert source.rows(["g"], ["value"]).to_pylist() == [{"value": 1.0}]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150))
def test_every_name_leads_to_the_folder_that_it_is_written_to(tmp_path_factory, name):
    expression = tmp_path_factory.getbasetemp() / "e"
    folders = SourceFolders(str(expression))
    written = f"source={storage.encode_name(name)}"
    folders._decoded = {above: {storage.decode_name(written): written} for above in ("values", "cells")}
    for above in ("values", "cells"):
        assert folders.of(above, name) == f"{expression}/{above}/{written}"


def test_a_source_that_is_not_there_is_sought_under_its_whole_name(tmp_path):
    (tmp_path / "values").mkdir()
    name = "細" * 80
    assert stored_source(tmp_path, name, SourceFolders(str(tmp_path))).parts[0].endswith("%B0/part-0.parquet")
