"""Options are declared once: the command line, Spark's reader and hints in errors follow, each in its own words."""

import pickle
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import errors, options
from median_spark.cli.arguments import COMMANDS, build_parser
from median_spark.errors import InputError, MedianSparkError, listed
from median_spark.expression import FailureRecord
from median_spark.matrices import AttributeNames, ReadOptions
from median_spark.options import FILTER_VALUE, GENE_TABLE, LAYER, NO_CELL_FILTER, READING, Style, Takes, worded
from median_spark.spark.datasource.options import OPTIONS, read_options, worded_for_readers

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MedianSparkError)]
EVERY = [option for option in vars(options).values() if isinstance(option, options.Option)]

every_kind = pytest.mark.parametrize("kind", KINDS)


def flags():
    (subparsers,) = (action for action in build_parser(dict.fromkeys(COMMANDS))._actions if action.choices)
    return {flag for each in subparsers.choices.values() for action in each._actions for flag in action.option_strings}


@pytest.mark.parametrize("option", EVERY, ids=lambda option: option.name)
def test_an_option_is_one_of_the_command_line_and_is_named_in_all_styles(option):
    assert option.flag in flags()
    for mention in (f"{option}", f"{option:name}", f"{option:…}", f"{option:=…}", option.given("a b", "-c")):
        texts = {style: worded(f"give {mention}.", style) for style in Style}
        assert texts[Style.FLAGS].startswith(f"give {option.flag}")
        assert option.field in texts[Style.ARGUMENTS]
        assert (option.name if option in READING else option.field) in texts[Style.READER]
        assert not any("⟦" in text for text in texts.values())


def test_every_option_of_reading_is_a_field_and_one_of_the_reader():
    owners = {"ReadOptions": ReadOptions, "AttributeNames": AttributeNames, "": ReadOptions}
    named = {(option.owner or "ReadOptions", option.field) for option in READING}
    assert all(option.field in {field.name for field in fields(owners[option.owner])} for option in READING)
    both = {("AttributeNames", field.name) for field in fields(AttributeNames) if field.name != "given"}
    both |= {("ReadOptions", field.name) for field in fields(ReadOptions) if field.name not in {"names", "given"}}
    assert named == both
    assert [option.name for option in READING] == [name for name in OPTIONS if name != "unit_entries"]


@pytest.mark.parametrize(
    ("mention", "flag", "argument", "reader"),
    [
        (f"{LAYER}", "--layer", "ReadOptions(layer=…)", '.option("layer", …)'),
        (f"{LAYER:name}", "--layer", "layer", "the reader's option 'layer'"),
        (LAYER.given("raw.X"), "--layer raw.X", "ReadOptions(layer='raw.X')", '.option("layer", "raw.X")'),
        (f"{GENE_TABLE:…}", "--gene-table FILE", "gene_table=…", '.option("gene_table", …)'),
        (f"{FILTER_VALUE:=…}", "--filter-value=VALUE", "ReadOptions(filter_values=…)", '.option("filter_value", …)'),
        (
            FILTER_VALUE.given("full", "b c"),
            "--filter-value full 'b c'",
            "ReadOptions(filter_values=('full', 'b c'))",
            '.option("filter_value", "full,b c")',
        ),
        (f"{NO_CELL_FILTER}", "--no-cell-filter", "ReadOptions(cell_filter=False)", '.option("no_cell_filter", True)'),
        (f"{options.OVERWRITE}", "--overwrite", "overwrite=True", "overwrite=True"),
        (
            options.GENE_ID_ATTR.given("-id"),
            "--gene-id-attr=-id",
            "AttributeNames(gene_id='-id')",
            '.option("gene_id_attr", "-id")',
        ),
    ],
)
def test_each_style_has_its_words(mention, flag, argument, reader):
    assert [worded(mention, style) for style in Style] == [flag, argument, reader]


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(list(Style)))
def test_any_value_comes_out_as_it_went_in_and_controls_no_terminal(value, style):
    text = worded(f"a {LAYER.given(value)} b", style)
    assert text.isprintable()
    if style is Style.FLAGS and value.isprintable():
        assert shlex.split(text.replace("--layer=", "--layer "))[1:-1] == ["--layer", value]


@pytest.mark.parametrize(
    "text", ["⟦layer [x]⟧", "⟦layer [1]⟧", '⟦layer ["\\x"]⟧', "⟦layer", "⟦nothing⟧", "⟦layer [[]]⟧", '⟦layer ["a",]⟧']
)
def test_what_a_file_holds_that_looks_like_a_mention_stays_as_it_is(text):
    for style in Style:
        assert worded(text, style) == text
    assert str(InputError(text)) == text


@every_kind
def test_an_error_speaks_to_whoever_reads_it_also_from_another_process(kind):
    error = pickle.loads(pickle.dumps(kind(f"a.loom: no counts: name them with {LAYER}", kind="no counts")))
    assert (type(error), error.kind) == (kind, "no counts")
    assert str(error) == "a.loom: no counts: name them with ReadOptions(layer=…)"
    assert error.worded(Style.FLAGS) == "a.loom: no counts: name them with --layer"
    assert str(kind(error.text)) == str(error)
    assert error.without("a.loom") == f"no counts: name them with {LAYER}"
    with pytest.raises(kind, match=r'no counts: name them with \.option\("layer", …\)$'), worded_for_readers():
        raise error


@every_kind
def test_a_long_line_of_a_message_loses_its_middle(kind):
    line = f"begin {'x' * 5_000} {LAYER}"
    shown = str(kind("short", line)).split("\n")
    assert (shown[0], len(shown[1])) == ("short", 2_000)
    assert shown[1].startswith("begin x")
    assert "x…x" in shown[1]
    assert shown[1].endswith("x ReadOptions(layer=…)")
    assert kind(line).worded(Style.FLAGS).endswith("x --layer")
    assert str(kind("y" * 2_000)) == "y" * 2_000
    assert len(str(kind("\x1b" * 1_000))) == 2_000  # its escapes are counted, too


def test_a_long_name_in_a_list_loses_its_middle():
    shown = listed(["a" + "b" * 500 + "c", "d"])
    assert shown == f"'a{'b' * 48}…{'b' * 49}c', 'd'"
    assert listed(["e" * 100]) == repr("e" * 100)


def test_a_failure_is_stored_in_the_words_of_the_command_line():
    failure = FailureRecord("a", "/a.loom", f"/a.loom: no counts: name them with {LAYER}")
    assert failure.reason == "/a.loom: no counts: name them with ReadOptions(layer=…)"
    assert failure.as_json() == {
        "source": "a",
        "path": "/a.loom",
        "reason": "/a.loom: no counts: name them with --layer",
    }


def test_the_command_line_and_the_reader_make_the_same_of_an_option():
    from median_spark.cli.chosen import read_options as of_command_line

    texts = {
        Takes.TEXT: ("x", ["x"]),
        Takes.NUMBER: ("7", ["7"]),
        Takes.NOTHING: ("true", []),
        Takes.TYPES: ("a,b", ["a,b"]),
        Takes.VALUES: ("a,b", ["a", "b"]),
    }
    for option in READING:
        if option.takes in texts:
            text, words = texts[option.takes]
            parsed = build_parser(dict.fromkeys(COMMANDS)).parse_args(["inspect", "path", option.flag, *words])
            assert read_options({option.name: text}) == of_command_line(parsed) != ReadOptions()


def test_several_gene_tables_are_one_for_the_command_line_and_for_the_reader(tmp_path):
    from median_spark.cli.chosen import read_options as of_command_line

    paths = [str(tmp_path / name) for name in ("a.csv", "b,c.csv")]
    for path, gene in zip(paths, ("ENSG1", "ENSMUSG1"), strict=True):
        Path(path).write_text(f"ensembl_id,gene_type\n{gene},miRNA\n")
    parser = build_parser(dict.fromkeys(COMMANDS))
    given = parser.parse_args(["inspect", "--gene-table", paths[0], "--gene-table", paths[1], "path"])
    reading = of_command_line(given)
    assert reading == read_options({"gene_table": f'{paths[0]}, "{paths[1]}"'})
    assert list(reading.gene_table.gene_types) == ["ENSG1", "ENSMUSG1"]
