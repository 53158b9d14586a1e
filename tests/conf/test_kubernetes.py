"""What conf/kubernetes asks of a cluster: arguments that the command takes, and what conf/spark-cluster.conf has."""

import json
import os
from pathlib import Path

import pytest
import yaml

from median_spark.cli.arguments import COMMANDS, build_parser

CONF = Path(__file__).parents[2] / "conf"
FOLDER = CONF / "kubernetes"
APPLICATION = yaml.safe_load((FOLDER / "spark-application.yaml").read_text(encoding="utf-8"))["spec"]
POD = yaml.safe_load((FOLDER / "executor-pod.yaml").read_text(encoding="utf-8"))["spec"]


def cluster_properties():
    lines = (CONF / "spark-cluster.conf").read_text(encoding="utf-8").splitlines()
    return dict(line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))


def test_the_application_runs_the_command():
    path = APPLICATION["mainApplicationFile"].removeprefix("local:///opt/median_spark/")
    assert (CONF.parent / path).is_file()
    args = build_parser(dict.fromkeys(COMMANDS)).parse_args(["run", *APPLICATION["arguments"]])
    assert (args.inputs, args.out) == (["s3://BUCKET/corpus"], "s3://BUCKET/run1")


def test_the_application_has_the_figures_of_a_cluster():
    expected = cluster_properties()
    for role in ("driver", "executor"):
        for field, name in {"cores": "cores", "memory": "memory", "memoryOverhead": "memoryOverhead"}.items():
            if f"spark.{role}.{name}" in expected:
                assert str(APPLICATION[role][field]) == expected[f"spark.{role}.{name}"]
    for name, value in APPLICATION["sparkConf"].items():
        assert isinstance(value, str)
        if name != "spark.pyspark.python":
            assert expected[name].split() == value.split(), name
    environment = {name for name in expected if name.startswith("spark.executorEnv.")}
    assert environment <= set(APPLICATION["sparkConf"])


def test_both_have_a_volume_that_spark_takes_as_its_local_folder():
    for volumes, mounts in (
        (APPLICATION["volumes"], APPLICATION["executor"]["volumeMounts"]),
        (POD["volumes"], POD["containers"][0]["volumeMounts"]),
    ):
        assert [volume["name"] for volume in volumes] == [mount["name"] for mount in mounts]
        assert all(volume["name"].startswith("spark-local-dir-") for volume in volumes)


def strict(node):
    """Let no object of a schema have fields that it does not name, as the API server drops them without a word."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        if node.get("x-kubernetes-int-or-string"):
            node.pop("type", None)
        node = node.values()
    if not isinstance(node, str):
        for each in node if hasattr(node, "__iter__") else ():
            strict(each)


def test_the_application_is_one_of_the_operator_s_own_schema():
    """The schema is that of kubeflow/spark-operator, config/crd/bases/sparkoperator.k8s.io_sparkapplications.yaml."""
    jsonschema = pytest.importorskip("jsonschema")
    named = os.environ.get("SPARK_OPERATOR_CRD")
    if not named:
        pytest.skip("SPARK_OPERATOR_CRD names no file of the operator's definitions")
    versions = yaml.safe_load(Path(named).read_text(encoding="utf-8"))["spec"]["versions"]
    (schema,) = (one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1beta2")
    strict(schema)
    schema["properties"]["metadata"] = {}
    check = jsonschema.Draft202012Validator(schema)
    application = yaml.safe_load((FOLDER / "spark-application.yaml").read_text(encoding="utf-8"))
    assert [error.message for error in check.iter_errors(application)] == []
    wrong = json.loads(json.dumps(application))
    wrong["spec"]["executor"]["wrong"] = 1
    wrong["spec"]["driver"]["cores"] = "one"
    assert len(list(check.iter_errors(wrong))) == 2
    executor = schema["properties"]["spec"]["properties"]["executor"]["properties"]
    for part, found in {
        "volumes": (schema["properties"]["spec"]["properties"]["volumes"], POD["volumes"]),
        "container": (executor["sidecars"]["items"], POD["containers"][0]),
        "security": (executor["podSecurityContext"], POD["securityContext"]),
    }.items():
        errors = jsonschema.Draft202012Validator(found[0]).iter_errors(found[1])
        assert [error.message for error in errors] == [], part
