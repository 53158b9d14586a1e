"""Which sources may be pooled."""

import pytest
from tables import PARAMETERS, record_of

from median_spark.errors import TableError
from median_spark.expression import require_uniform
from median_spark.storage import FileStat


def test_sources_of_the_same_options_may_be_pooled():
    other_names = PARAMETERS | {"cell_filter": False}
    require_uniform("/t", [record_of("a"), record_of("b", parameters=other_names)])


@pytest.mark.parametrize(
    ("option", "value"), [("target_sum", 1e6), ("gene_types", ["lncRNA"]), ("gene_table", "0123456789abcdef")]
)
def test_values_that_cannot_be_pooled_are_refused(option, value):
    odd = record_of("odd", parameters=PARAMETERS | {option: value})
    with pytest.raises(TableError, match=rf"^/t: .*'{option}': .*2 sources: 'a', 'b'.*1 source: 'odd'"):
        require_uniform("/t", [record_of("a"), record_of("b"), odd])


def test_one_file_under_two_names_is_refused():
    twice = [record_of("a"), record_of("b"), record_of("c", input=FileStat("/looms/a.loom", 100, 7))]
    with pytest.raises(TableError, match=r"^/t: /looms/a\.loom stands in the table as 'a', 'c'"):
        require_uniform("/t", twice)


def test_a_table_without_sources_is_refused():
    with pytest.raises(TableError, match=r"^/t: .* holds no source"):
        require_uniform("/t", [])
