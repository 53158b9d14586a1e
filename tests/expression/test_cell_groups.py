"""The groups of a part's cells: by place where the dictionary is theirs, by id where it is not."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from median_spark.errors import TableError
from median_spark.expression import CellGroups

IDS = pa.array(["a", "b", "", "ü", "d"])
GROUPS = np.array([0, 1, -1, 1, 2], dtype=np.int32)


def groups_of(folder, ids=IDS, groups=GROUPS):
    pq.write_table(pa.table({"cell": ids}), folder / "cells.parquet")
    return CellGroups.of_cells(groups, ids, str(folder / "cells.parquet"))


def test_the_same_ids_give_the_groups_as_they_are(tmp_path):
    assert groups_of(tmp_path).of("part", pa.array(IDS.to_pylist())).tolist() == GROUPS.tolist()


def test_a_slice_has_the_fingerprint_of_its_own_ids(tmp_path):
    sliced = pa.array(["x", *IDS.to_pylist(), "y"]).slice(1, 5)
    (tmp_path / "cells.parquet").write_bytes(b"")  # is not read
    assert CellGroups.of_cells(GROUPS, sliced, str(tmp_path / "cells.parquet")).of("part", IDS).tolist() == [
        0, 1, -1, 1, 2
    ]  # fmt: skip


def test_other_orders_are_found_by_id(tmp_path):
    assert groups_of(tmp_path).of("part", pa.array(["d", "ü", "a"])).tolist() == [2, 1, 0]


def test_repeated_ids_of_one_group_are_no_matter(tmp_path):
    groups = groups_of(tmp_path, pa.array(["a", "b", "a"]), np.array([1, 0, 1], dtype=np.int32))
    assert groups.of("part", pa.array(["a", "b"])).tolist() == [1, 0]


def test_repeated_ids_of_several_groups_are_refused(tmp_path):
    groups = groups_of(tmp_path, pa.array(["a", "b", "a"]), np.array([1, 0, -1], dtype=np.int32))
    with pytest.raises(TableError, match=r"cells.parquet: several cells have the id 'a' but different attributes"):
        groups.of("part", pa.array(["a", "b"]))


def test_a_cell_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TableError, match="part: cell 'q' is not among the cells of this source"):
        groups_of(tmp_path).of("part", pa.array(["a", "q"]))


def test_a_file_that_changed_or_is_gone_is_named(tmp_path):
    groups = groups_of(tmp_path)
    groups_of(tmp_path, pa.array(["a", "b", "c", "d", "e"]))
    with pytest.raises(TableError, match="has changed since it was read"):
        groups.of("part", pa.array(["a"]))
    (tmp_path / "cells.parquet").unlink()
    with pytest.raises(TableError, match="this file of cells cannot be read"):
        groups.of("part", pa.array(["a"]))


def test_other_numbers(tmp_path):
    groups = groups_of(tmp_path)
    assert groups.numbered(np.array([7, -1, 5, -1], dtype=np.int32)).groups.tolist() == [7, -1, -1, -1, 5]
    assert groups.numbered(np.array([-1, -1, -1, -1], dtype=np.int32)) is None
