"""What the pages say against what there is: commands, options, targets, files, links and names."""

import ast
import re
import shlex
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml
from layout_table import layout_table

import median_spark
from median_spark.cli import arguments

COMMANDS = dict.fromkeys(arguments.COMMANDS)
ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
OTHERS_OPTIONS = {
    "--archives",
    "--properties-file",
    "--conf",
    "--files",
    "--deploy-mode",
    "--constraint",
    "--work-dir",
    "--build-arg",
    "--output",
}
"""Options of spark-submit, pip, docker and jupyter that pages mention."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page):
    """Return the fenced and the indented blocks of a page, continued lines joined."""
    fenced = re.compile(r"^```\w*\n(.*?)^```$", re.M | re.S)
    text = page.read_text()
    found, block = [block.replace("\\\n", " ") for block in fenced.findall(text)], []
    for line in [*fenced.sub("", text).splitlines(), "end"]:
        if line.startswith("    ") or (block and not line.strip()):
            block.append(line)
        elif block:
            found.append(textwrap.dedent("\n".join(block)).strip().replace("\\\n", " "))
            block = []
    return found


def commands(page):
    """Return the arguments of every call of ours, as they are written."""
    found = []
    for block in blocks(page):
        for line in block.splitlines():
            call = re.match(r"(?:\S*/)?median-spark (\w+) +(.*)", line)
            if call:
                # A synopsis has its explanation after some spaces, and brackets around what may be left out.
                text = re.split(" {2,}", call[2])[0].replace("[", "").replace("]", "")
                found.append([call[1], *shlex.split(text, comments=True)])
    return found


def options():
    """Return all options of all commands."""
    parser = arguments.build_parser(COMMANDS)
    (subparsers,) = (action for action in parser._actions if hasattr(action, "choices") and action.choices)
    actions = [action for each in subparsers.choices.values() for action in each._actions]
    return {option for action in actions for option in action.option_strings}


def targets():
    """Return the names of all targets of the Makefile."""
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_page
def test_commands_are_taken(page):
    for call in commands(page):
        arguments.build_parser(COMMANDS).parse_args(call)  # it exits where it cannot


def test_there_are_commands_to_look_at():
    assert {call[0] for page in PAGES for call in commands(page)} == set(COMMANDS)


@each_page
def test_options_exist(page):
    named = set(re.findall(r"`(--[a-z][a-z-]+)[ =`]", page.read_text()))
    assert named <= options() | OTHERS_OPTIONS | {"--params"}


@each_page
def test_targets_exist(page):
    assert (
        set(re.findall(r"(?:`|^ {4}|^)make ([a-z0-9-]+)(?=[`\n]| {2,}| PYTHON=)", page.read_text(), re.M)) <= targets()
    )


def test_readme_names_every_target():
    named = set(re.findall(r"`make ([a-z0-9-]+)`", (ROOT / "README.md").read_text()))
    assert named | {"help", "java"} == targets()


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_public_name_is_in_the_api_reference():
    named = re.findall(r"^::: median_spark\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert sorted(named) == sorted(set(median_spark.__all__) - {"__version__"})


def test_the_page_of_layouts_has_the_table_of_the_data():
    assert "\n".join(layout_table()) in (ROOT / "docs" / "layouts.md").read_text()


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in PAGES if page.parent == ROOT / "docs" and f" {page.name}\n" not in navigation] == []


@each_page
def test_files_exist(page):
    rooms = "|".join(sorted(path.name for path in (ROOT / "median_spark").iterdir() if path.is_dir()))
    named = re.findall(rf"`((?:conf|jobs|tests|docs|benchmarks|median_spark|{rooms})/[\w./-]*)`", page.read_text())
    assert [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "median_spark"))] == []


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.M)}, target


@each_page
def test_names_can_be_imported(page):
    for block in blocks(page):
        if "import " not in block:
            continue
        for line in block.splitlines():
            if re.match(r"from median_spark(\.\w+)* import ", line.strip()):
                (statement,) = ast.parse(line.strip()).body
                assert statement.module == "median_spark"
                assert all(hasattr(median_spark, name.name) for name in statement.names), line


@each_page
def test_names_of_packages_have_todays_version(page):
    named = re.findall(r"median_spark[-:](\d+\.\d+\.\d+)", page.read_text())
    assert set(named) <= {median_spark.__version__}


def test_citation_and_conda_recipe_agree_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    recipe = yaml.safe_load((ROOT / "conf" / "conda" / "recipe.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == recipe["context"]["version"] == median_spark.__version__
    assert citation["license"] == recipe["about"]["license"] == project["license"]
    wanted = {name.replace(" ", "").replace("-base", "") for name in recipe["requirements"]["run"][1:]}
    assert wanted == set(project["dependencies"])


def test_pre_commit_runs_what_lint_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    run = {line.split(" .")[0].replace(" --check", "").strip() for line in lint.replace("$(BIN)/", "").splitlines()}
    assert {hook["entry"].removeprefix(".venv/bin/") for hook in hooks} == run
