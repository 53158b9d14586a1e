"""Dictionaries of one group of cells: how it is named, what is in them, and groups that do not exist."""

import json
import re
from dataclasses import asdict, replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import GeneformerOptions, ResultOptions, check_dictionaries
from median_spark.cli.text import dictionaries_text
from median_spark.errors import UsageError
from median_spark.geneformer import DictionaryFigures, check_group, group_dictionaries, group_text, parse_group

SCHEMA = pa.schema(
    [("assay", pa.string()), ("sex", pa.string()), ("gene", pa.string()), ("n_cells", pa.int64()),
     ("median", pa.float64()), ("mean", pa.float64())]
)  # fmt: skip
ROWS = [
    ("10x 3' v3", "female", "G1", 10, 1.0, 2.0),
    ("10x 3' v3", "female", "G2", 3, 1.5, 2.5),
    ("10x 3' v3", None, "G1", 9, 3.0, 4.0),
    ("Smart-seq2", "female", "G2", 8, 5.0, 6.0),
    (None, "male", "G3", 7, 7.0, 8.0),
]
TABLE = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in ROWS], schema=SCHEMA)
BY = ("assay", "sex")


class TestParse:
    @pytest.mark.parametrize(
        ("text", "assay", "sex"),
        [
            ("assay=10x 3' v3,sex=female", "10x 3' v3", "female"),
            ("sex=female,assay=10x 3' v3", "10x 3' v3", "female"),
            ("assay=10x, nuclei=all, sex=f=m", "10x, nuclei=all", "f=m"),
            ("assay=,sex=male", None, "male"),
            ("assay=a,sex=", "a", None),
            ("sex= , assay=  x", "x", None),
        ],
    )
    def test_names_a_value_of_each_column(self, text, assay, sex):
        assert parse_group(text, BY) == {"assay": assay, "sex": sex}

    @pytest.mark.parametrize(
        "text", ["", "10x", "assay=10x", "assay=a,sex=f,assay=b", "x,assay=a,sex=f", "Assay=a,sex=f", "assay:a,sex:f"]
    )
    def test_rejects_what_does_not(self, text):
        with pytest.raises(UsageError, match=re.escape(f"needs a value of each, as in 'assay=…,sex=…', not '{text}'")):
            parse_group(text, BY)

    def test_rejects_any_text_without_columns(self):
        with pytest.raises(UsageError, match=r"needs .*by.* with its columns for 'assay=a'"):
            parse_group("assay=a", ())

    def test_a_columns_name_may_end_anothers(self):
        assert parse_group("assay=1,my assay=2", ("assay", "my assay")) == {"assay": "1", "my assay": "2"}

    @given(st.tuples(*[st.none() | st.from_regex(r"[a-z' =.]*[a-z']", fullmatch=True).map(str.strip)] * 2))
    def test_leads_back_to_the_group(self, names):
        group = dict(zip(BY, (name or None for name in names), strict=True))
        assert parse_group(group_text(group), BY) == group


class TestGroup:
    @pytest.mark.parametrize(
        ("group", "factor", "medians"),
        [
            ({"assay": "10x 3' v3", "sex": "female"}, "median", {"G1": 1.0, "G2": 1.5}),
            ({"sex": "female", "assay": "10x 3' v3"}, "mean", {"G1": 2.0, "G2": 2.5}),
            ({"assay": "10x 3' v3", "sex": None}, "median", {"G1": 3.0}),
            ({"assay": None, "sex": "male"}, "mean", {"G3": 8.0}),
        ],
    )
    def test_has_dictionaries_of_its_own_genes(self, group, factor, medians):
        found = group_dictionaries(TABLE, GeneformerOptions(factor=factor, dictionary_of=group))
        assert found.medians == medians
        assert list(found.tokens)[4:] == list(medians)
        assert (found.figures.factor, found.figures.dictionary_of) == (factor, group)
        assert check_dictionaries(found.medians, found.tokens, found.mapping) == []

    def test_leaves_out_genes_of_few_of_its_cells(self):
        group = {"assay": "10x 3' v3", "sex": "female"}
        found = group_dictionaries(TABLE, GeneformerOptions(min_cells=4, dictionary_of=group))
        assert found.medians == {"G1": 1.0}
        assert found.figures.genes_in_fewer_cells == 1

    @pytest.mark.parametrize("group", [{"assay": "10x", "sex": "female"}, {"assay": None, "sex": None}])
    def test_that_does_not_exist_is_rejected_with_those_that_do(self, group):
        groups = [("10x 3' v3", "female"), ("10x 3' v3", None), ("Smart-seq2", "female"), (None, "male")]
        check_group({"sex": None, "assay": "10x 3' v3"}, BY, groups)
        with pytest.raises(UsageError, match=re.escape(f"there is no group '{group_text(group)}'")) as caught:
            check_group(group, BY, groups)
        assert (
            'there are 4 groups: "assay=10x 3\' v3,sex=female", "assay=10x 3\' v3,sex=", '
            "'assay=Smart-seq2,sex=female', 'assay=,sex=male'"
        ) in str(caught.value)

    @pytest.mark.parametrize(("by", "words"), [((), "here none"), (("assay",), "here 'assay'"), (BY, "'assay', 'sex'")])
    def test_of_other_columns_is_rejected(self, by, words):
        with pytest.raises(UsageError, match=re.escape(words)):
            ResultOptions(GeneformerOptions(dictionary_of={"sex": "female"}), by=by)
        ResultOptions(GeneformerOptions(dictionary_of={"sex": "female"}), by=("sex",))

    def test_is_told_in_the_summary(self):
        options = GeneformerOptions(factor="mean", dictionary_of={"assay": "Smart-seq2", "sex": "female"})
        found = group_dictionaries(TABLE, options)
        assert dictionaries_text(found.figures).startswith("means of assay=Smart-seq2,sex=female: 1 gene after")
        assert dictionaries_text(group_dictionaries(TABLE, replace(options, factor="median")).figures).startswith(
            "medians of assay=Smart-seq2,sex=female: 1 gene"
        )
        assert DictionaryFigures.from_json(json.loads(json.dumps(asdict(found.figures)))) == found.figures
