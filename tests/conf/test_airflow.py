"""The example DAG: it loads in Airflow, and its tasks run commands that there are."""

import shlex
from pathlib import Path

import pytest

from median_spark.cli.arguments import COMMANDS, build_parser

FOLDER = Path(__file__).parents[2] / "conf" / "airflow"


def test_the_dag_loads_and_runs_two_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    bags = pytest.importorskip("airflow.dag_processing.dagbag")
    bag = bags.DagBag(str(FOLDER), bundle_name="examples")
    assert bag.import_errors == {}
    dag = bag.dags["median_spark"]
    medians, verify = dag.get_task("medians"), dag.get_task("verify")
    assert medians.downstream_task_ids == {"verify"}
    for task in (medians, verify):
        task.render_template_fields({"params": dag.params.dump(), "ds": "2026-01-01"})
    assert (medians.application, medians.properties_file) == (
        "/opt/median_spark/jobs/run.py",
        "/opt/median_spark/conf/spark-cluster.conf",
    )
    parser = build_parser(dict.fromkeys(COMMANDS))
    run = parser.parse_args(["run", *medians.application_args])
    python, *words = shlex.split(verify.bash_command)
    assert (python, words[:2]) == ("/opt/median_spark/bin/python", ["-m", "median_spark"])
    checked = parser.parse_args(words[2:])
    assert (checked.expression, checked.result) == (f"{run.out}/expression", f"{run.out}/medians")
