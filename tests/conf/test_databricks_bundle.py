"""conf/databricks: that Databricks' own models take it, and that what it names is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from databricks.bundles.jobs import Job

from median_spark.cli.arguments import build_parser

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "conf" / "databricks"
ALLOWED = {"bundle", "include", "sync", "artifacts", "variables", "targets", "resources"}
"""Of the top level of a bundle's files, what this one uses."""


@pytest.fixture(scope="module")
def bundle():
    """The bundle's files, merged as its command line merges them."""
    merged = yaml.safe_load((BUNDLE / "databricks.yml").read_text())
    for pattern in merged["include"]:
        for path in sorted(BUNDLE.glob(pattern)):
            included = yaml.safe_load(path.read_text())
            assert not included.keys() & merged.keys()
            merged |= included
    return merged


@pytest.fixture(scope="module")
def jobs(bundle):
    return bundle["resources"]["jobs"]


def tasks(jobs):
    return {name: task for name, job in jobs.items() for task in job["tasks"]}


def test_the_models_take_the_jobs(bundle, jobs):
    assert bundle.keys() <= ALLOWED
    for name, declared in jobs.items():
        job = Job.from_dict(declared)
        # As in a round trip, nothing is lost and nothing is made up but what is empty.
        assert {key for key, value in job.as_dict().items() if value} == declared.keys(), name
    with pytest.raises(ValueError, match="entry_pont"):
        Job.from_dict({"tasks": [{"task_key": "run", "python_wheel_task": {"package_name": "x", "entry_pont": "y"}}]})


def test_every_variable_is_declared_and_used(bundle):
    text = "".join(path.read_text() for path in [BUNDLE / "databricks.yml", *BUNDLE.glob("resources/*.yml")])
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(bundle["variables"])
    assert all(variable["description"] for variable in bundle["variables"].values())


def test_every_job_parameter_that_a_task_takes_is_declared(jobs):
    for job in jobs.values():
        declared = {parameter["name"] for parameter in job["parameters"]}
        assert set(re.findall(r"\{\{job\.parameters\.(\w+)\}\}", str(job["tasks"]))) == declared


def test_every_cluster_that_a_task_names_is_declared(jobs):
    for job in jobs.values():
        clusters = {cluster["job_cluster_key"] for cluster in job["job_clusters"]}
        assert {task["job_cluster_key"] for task in job["tasks"]} == clusters


def test_the_wheel_task_calls_what_the_wheel_has(jobs):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = tasks(jobs)["medians"]["python_wheel_task"]
    assert named["package_name"] == project["name"]
    entry_points = [names for group in project["entry-points"].values() for names in group]
    assert entry_points.count(named["entry_point"]) == 1
    assert named["entry_point"] not in project["scripts"]


def test_the_command_line_takes_the_wheel_tasks_parameters(jobs):
    given = tasks(jobs)["medians"]["python_wheel_task"]["parameters"]
    names = ("run", "convert", "medians", "merge", "remove", "verify", "inspect", "report", "demo")
    parsed = build_parser(dict.fromkeys(names, lambda _: 0)).parse_args(given)
    assert parsed.name == "run"
    assert (parsed.inputs, parsed.gene_table, parsed.out) == (
        ["{{job.parameters.corpus}}"],
        ["{{job.parameters.gene_table}}"],
        "{{job.parameters.out}}",
    )


def test_paths_are_there_and_are_uploaded(bundle, jobs):
    resources = BUNDLE / "resources"
    notebook = (resources / tasks(jobs)["medians_notebook"]["notebook_task"]["notebook_path"]).resolve()
    assert notebook == ROOT / "jobs" / "notebook.py"
    uploaded = [(BUNDLE / path).resolve() for path in bundle["sync"]["paths"]]
    assert any(notebook.is_relative_to(folder) for folder in uploaded)
    artifact = bundle["artifacts"]["median_spark"]
    assert (BUNDLE / artifact["path"]).resolve() == ROOT
    for task in tasks(jobs).values():
        wheels = [library["whl"] for library in task["libraries"]]
        assert [(resources / wheel).resolve().parent for wheel in wheels] == [ROOT / "dist"]
    assert "--wheel-dir dist " in artifact["build"]


def test_the_notebook_has_a_widget_for_every_parameter_that_it_is_given(jobs):
    given = tasks(jobs)["medians_notebook"]["notebook_task"]["base_parameters"]
    text = (ROOT / "jobs" / "notebook.py").read_text()
    assert set(given) <= set(re.findall(r'parameter\("(\w+)"', text))
