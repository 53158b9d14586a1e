"""The group that dictionaries are of: how it is named, and groups that do not exist."""

import json
import re
from dataclasses import asdict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import GeneformerOptions, ResultOptions
from median_spark.errors import UsageError
from median_spark.geneformer import DictionaryFigures, check_group, geneformer_dictionaries, group_text, parse_group

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

    def test_is_recorded_and_read_back(self):
        table = pa.table({"gene": ["G1"], "n_cells": [3], "mean": [2.0], "median": [1.0]})
        options = GeneformerOptions(factor="mean", dictionary_of={"assay": "Smart-seq2", "sex": None})
        figures = geneformer_dictionaries(table, options).figures
        assert (figures.factor, figures.dictionary_of) == ("mean", options.dictionary_of)
        assert DictionaryFigures.from_json(json.loads(json.dumps(asdict(figures)))) == figures
