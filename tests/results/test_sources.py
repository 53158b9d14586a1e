"""The table of sources of a result: every field comes back, settings are shared, and it stays small."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import PARAMETERS, record_of

from median_spark.errors import TableError
from median_spark.genes import RowCounts
from median_spark.results import RecordedSource
from median_spark.results.layout import SOURCES_SCHEMA
from median_spark.results.sources import decode_sources, encode_sources
from median_spark.storage import FileStat

LAYOUT = {"name": "optimus", "implied": {"strip_version": True}, "text": "read as with --strip-version"}

SOURCES = [
    replace(RecordedSource.of(record_of("db/a", median_n_counts=1_234.5, values=30)), layout=LAYOUT, cells_listed=3),
    RecordedSource.of(record_of("db/b", warnings=[], parameters={**PARAMETERS, "layer": "raw"})),
    RecordedSource("old", FileStat("/old.pickle", 9, 8), "f00", genes=3, values=4, merged_from="/old.pickle"),
    RecordedSource.of(record_of("größe/c", warnings=["a", "b"])),
    RecordedSource("nothing is known of this one"),
]


def read_back(sources):
    stored = encode_sources(sources)
    return decode_sources(pa.py_buffer(stored.content), stored.as_json(), "x")


def test_every_field_of_every_source_comes_back():
    def plain(source):
        counts = {name: list(v) if isinstance(v, tuple) else v for name, v in source.row_counts.items()}
        return replace(source, row_counts=counts, warnings=list(source.warnings))

    assert list(map(plain, read_back(SOURCES))) == list(map(plain, SOURCES))
    assert read_back([]) == []


def test_there_is_a_column_for_every_figure_of_the_rows():
    assert SOURCES_SCHEMA.field("row_census").type.num_fields == len(record_of("a").row_counts.as_json())
    assert {field.name for field in SOURCES_SCHEMA.field("row_census").type} == set(RowCounts.__dataclass_fields__)


def test_settings_that_sources_share_are_stored_once():
    stored = encode_sources(SOURCES)
    assert [setting["sources"] for setting in stored.settings] == [1, 1, 2, 1]
    numbers = pq.read_table(pa.BufferReader(stored.content))["setting"].to_pylist()
    assert numbers == [0, 1, 2, 3, 2]
    assert [stored.settings[number]["layout"] for number in numbers] == [LAYOUT, None, None, None, None]
    assert stored.settings[1]["parameters"]["layer"] == "raw"


def test_a_source_takes_a_hundred_bytes_however_many_there_are():
    sizes = [len(encode_sources([RecordedSource.of(record_of(f"s{i}")) for i in range(n)]).content) for n in (0, 5_000)]
    assert sizes[1] - sizes[0] < 100 * 5_000


@pytest.mark.parametrize("damage", ["other content", "no setting", "no hash"])
def test_damage_is_named(damage):
    stored = encode_sources(SOURCES)
    document, content = stored.as_json(), stored.content
    if damage == "other content":
        content = encode_sources(SOURCES[:1]).content
    elif damage == "no setting":
        document["settings"] = document["settings"][:1]
    else:
        del document["sources_file"]["sha256"]
    with pytest.raises(TableError, match=r"^sources of this result is damaged"):
        decode_sources(pa.py_buffer(content), document, "sources of this result")
