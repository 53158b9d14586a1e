"""What conf/emr asks of EMR: checked against the services' own models, taken by a stand-in for them, and consistent."""

import importlib.util
import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from moto import mock_aws

from median_spark.cli.arguments import build_parser

EMR = Path(__file__).parents[2] / "conf" / "emr"
CLUSTER_CONF = EMR.parent / "spark-cluster.conf"
VALUES = {
    "BUCKET": "my-bucket",
    "REGION": "eu-central-1",
    "ACCOUNT": "123456789012",
    "CLUSTER": "j-2AXXXXXXGAPLF",
    "APPLICATION": "00f1abcdexample1",
}
POLICIES = ("job-policy.json", "job-trust.json", "image-policy.json")

_SPEC = importlib.util.spec_from_file_location("emr_submit", EMR / "submit.py")
submit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(submit)


def text_of(name, **values):
    text = (EMR / name).read_text(encoding="utf-8")
    chosen = {**VALUES, **values}
    return submit.filled(text, {key: value for key, value in chosen.items() if f"${{{key}}}" in text})


def request(name, **values):
    return json.loads(text_of(name, **values))


def arguments(name, **values):
    text = (EMR / name).read_text(encoding="utf-8")
    chosen = {**VALUES, **values}
    return [str(EMR / name), *(f"{key}={value}" for key, value in chosen.items() if f"${{{key}}}" in text)]


def faults(found, shape, place=""):
    """Yield what a request breaks of a service's model beyond types and names: lengths, patterns, and choices."""
    if shape.type_name == "structure":
        for name, value in found.items():
            yield from faults(value, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for value in found:
            yield from faults(value, shape.member, f"{place}[]")
    elif shape.type_name == "map":
        for name, value in found.items():
            yield from faults(name, shape.key, f"{place}.{name}")
            yield from faults(value, shape.value, f"{place}.{name}")
    elif shape.type_name == "string":
        rules = shape.metadata
        if found not in (shape.enum or [found]):
            yield f"{place}: {found!r} is none of {shape.enum}"
        if not rules.get("min", 0) <= len(found) <= rules.get("max", len(found)):
            yield f"{place}: {found!r} is of length {len(found)}"
        # Patterns with surrogates are Java's, and mean any printable text.
        if "\\uD800" not in rules.get("pattern", "") and not re.fullmatch(rules.get("pattern", ".*"), found, re.DOTALL):
            yield f"{place}: {found!r} does not fit {rules['pattern']}"


def shape_of(name):
    service, operation, _ = submit.REQUESTS[name]
    return botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape


@pytest.fixture
def aws(monkeypatch):
    """A stand-in for AWS in this process, of which nothing leaves it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": VALUES["REGION"],
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


@pytest.mark.parametrize("name", submit.REQUESTS)
def test_a_request_is_one_of_the_services_own_model(name):
    filled = request(name)
    shape = shape_of(name)
    if "clientToken" in shape.members:
        filled["clientToken"] = "which-boto3-makes-up"
    report = ParamValidator().validate(filled, shape)
    assert not report.has_errors(), report.generate_report()
    assert list(faults(filled, shape)) == []


def test_the_check_finds_what_is_wrong():
    shape = shape_of("serverless-application.json")
    wrong = request("serverless-application.json") | {"architecture": "RISC", "name": "a name with spaces"}
    assert [fault.split(":")[0] for fault in faults(wrong, shape)] == [".name", ".architecture"]
    assert ParamValidator().validate(wrong | {"wrokers": 3}, shape).has_errors()


def test_a_cluster_is_made_with_its_step(aws, capsys):
    assert submit.main(arguments("cluster.json")) == 0
    cluster = capsys.readouterr().out.strip()
    emr = boto3.client("emr")
    made = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (made["Name"], made["ReleaseLabel"], made["AutoTerminate"]) == ("median_spark", "emr-7.13.0", True)
    assert [found["Name"] for found in made["Applications"]] == ["Spark"]
    (action,) = emr.list_bootstrap_actions(ClusterId=cluster)["BootstrapActions"]
    assert action["ScriptPath"] == "s3://my-bucket/median_spark/bootstrap.sh"
    (step,) = emr.list_steps(ClusterId=cluster)["Steps"]
    assert step["Config"]["Args"] == request("cluster.json")["Steps"][0]["HadoopJarStep"]["Args"]


def test_a_step_is_added_to_a_cluster_that_runs(aws, capsys):
    submit.main(arguments("cluster.json"))
    cluster = capsys.readouterr().out.strip()
    assert submit.main(arguments("step.json", CLUSTER=cluster)) == 0
    step = capsys.readouterr().out.strip()
    found = boto3.client("emr").describe_step(ClusterId=cluster, StepId=step)["Step"]
    assert found["Config"]["Jar"] == "command-runner.jar"
    assert found["Config"]["Args"][-5:] == JOB


def test_an_application_takes_a_job(aws, capsys):
    submit.main(arguments("serverless-application.json"))
    application = capsys.readouterr().out.strip()
    assert submit.main(arguments("serverless-job.json", APPLICATION=application)) == 0
    job = capsys.readouterr().out.strip()
    found = boto3.client("emr-serverless").get_job_run(applicationId=application, jobRunId=job)["jobRun"]
    assert found["jobDriver"]["sparkSubmit"]["entryPointArguments"] == JOB
    assert found["executionRole"] == "arn:aws:iam::123456789012:role/median_spark"
    assert found["executionTimeoutMinutes"] == 2880


def test_the_roles_policies_are_accepted(aws):
    iam, ecr = boto3.client("iam"), boto3.client("ecr")
    iam.create_role(RoleName="median_spark", AssumeRolePolicyDocument=text_of("job-trust.json"))
    iam.put_role_policy(RoleName="median_spark", PolicyName="corpus", PolicyDocument=text_of("job-policy.json"))
    found = iam.get_role_policy(RoleName="median_spark", PolicyName="corpus")["PolicyDocument"]
    assert found["Statement"][0]["Resource"] == "arn:aws:s3:::my-bucket"
    ecr.create_repository(repositoryName="median_spark")
    ecr.set_repository_policy(repositoryName="median_spark", policyText=text_of("image-policy.json"))


JOB = [
    "s3://my-bucket/corpus",
    *("--gene-table", "s3://my-bucket/gene_info_table.csv"),
    *("--out", "s3://my-bucket/run1"),
]


def submitted():
    """Return of the cluster's step its properties, its other options, and what the job is told."""
    step = request("step.json")["Steps"][0]["HadoopJarStep"]["Args"]
    assert step[0] == "spark-submit"
    program = next(place for place, word in enumerate(step) if word.endswith(".py"))
    options = list(zip(step[1:program:2], step[2:program:2], strict=True))
    properties = dict(value.split("=", 1) for option, value in options if option == "--conf")
    return properties, {option: value for option, value in options if option != "--conf"}, step[program:]


def job_properties():
    (spark,) = request("serverless-job.json")["configurationOverrides"]["applicationConfiguration"]
    assert spark["classification"] == "spark-defaults"
    return spark["properties"]


def test_the_step_is_the_same_for_a_new_cluster_and_for_one_that_runs():
    assert request("cluster.json")["Steps"] == request("step.json")["Steps"]
    step = request("step.json")["Steps"][0]["HadoopJarStep"]
    assert len("".join(step["Args"])) < 10_240, "the service takes no longer ones"


def test_the_job_is_one_that_the_command_line_understands():
    _, options, (program, *told) = submitted()
    assert told == JOB == request("serverless-job.json")["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    assert Path(program).name in {path.name for path in (EMR.parents[1] / "jobs").iterdir()}
    given = build_parser(dict.fromkeys(COMMANDS, None)).parse_args(["run", *told])
    assert (given.inputs, given.out) == (["s3://my-bucket/corpus"], "s3://my-bucket/run1")
    assert options == {
        "--deploy-mode": "cluster",
        "--archives": "s3://my-bucket/median_spark/environment.tar.gz#environment",
    }


COMMANDS = ("run", "convert", "medians", "merge", "remove", "verify", "inspect", "report", "demo")


def test_properties_are_those_of_any_cluster_but_for_what_emr_decides():
    lines = CLUSTER_CONF.read_text(encoding="utf-8").splitlines()
    usual = dict(line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    for properties in (submitted()[0], job_properties()):
        shared = properties.keys() & usual.keys()
        assert len(shared) > 10
        differing = {name for name in shared if properties[name] != usual[name].strip()}
        assert differing <= {"spark.executor.memoryOverhead"}


def gigabytes(properties, whose):
    sizes = (properties[f"spark.{whose}.memory"], properties[f"spark.{whose}.memoryOverhead"])
    return sum(int(size.removesuffix("g")) for size in sizes)


def test_workers_are_of_sizes_that_emr_serverless_has():
    least_and_most = {"1": (2, 8), "2": (4, 16), "4": (8, 30), "8": (16, 60), "16": (32, 120)}
    properties = job_properties()
    for whose in ("driver", "executor"):
        least, most = least_and_most[properties[f"spark.{whose}.cores"]]
        assert least <= gigabytes(properties, whose) <= most
        assert 20 <= int(properties[f"spark.emr-serverless.{whose}.disk"].removesuffix("g")) <= 200


def test_the_application_has_room_for_the_job():
    properties = job_properties()
    executors = int(properties["spark.dynamicAllocation.maxExecutors"])
    most = {
        name: int(text.split()[0]) for name, text in request("serverless-application.json")["maximumCapacity"].items()
    }
    needed = {
        "cpu": int(properties["spark.driver.cores"]) + executors * int(properties["spark.executor.cores"]),
        "memory": gigabytes(properties, "driver") + executors * gigabytes(properties, "executor"),
        "disk": 20 + executors * 100,
    }
    assert all(needed[name] <= most[name] <= 1.1 * needed[name] for name in most)


def test_one_release_is_named_everywhere():
    releases = {request("cluster.json")["ReleaseLabel"], request("serverless-application.json")["releaseLabel"]}
    image = re.search(r"^FROM \S+/spark/(\S+):latest$", (EMR / "Dockerfile").read_text(), re.MULTILINE)
    assert releases == {image[1]}


def test_machines_are_ones_that_the_packages_run_on_and_the_release_knows(aws):
    cluster = request("cluster.json")
    known = boto3.client("emr").list_supported_instance_types(ReleaseLabel=cluster["ReleaseLabel"])
    architectures = {found["Type"]: found["Architecture"] for found in known["SupportedInstanceTypes"]}
    for group in cluster["Instances"]["InstanceGroups"]:
        assert architectures[group["InstanceType"]] == "X86_64"
    assert request("serverless-application.json")["architecture"] == "X86_64"


@pytest.mark.parametrize("name", [*submit.REQUESTS, *POLICIES])
def test_a_placeholder_without_a_value_is_named(name, capsys):
    with pytest.raises(SystemExit):
        submit.main([str(EMR / name)])
    said = capsys.readouterr().err
    wanted = sorted(set(re.findall(r"\$\{(\w+)\}", (EMR / name).read_text())))
    assert wanted
    assert all(f"{placeholder}=..." in said for placeholder in wanted)


def test_a_value_without_a_placeholder_is_named(capsys):
    with pytest.raises(SystemExit):
        submit.main([*arguments("cluster.json"), "BUKCET=x"])
    assert "there is no placeholder BUKCET, only BUCKET" in capsys.readouterr().err


def test_what_is_only_printed_is_not_sent(capsys):
    assert submit.main([*arguments("job-policy.json"), "--print"]) == 0
    assert json.loads(capsys.readouterr().out) == request("job-policy.json")


def test_a_policy_is_no_request_that_can_be_sent(capsys):
    with pytest.raises(SystemExit):
        submit.main(arguments("job-policy.json"))
    assert "this is no request that can be sent; there are cluster.json" in capsys.readouterr().err


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def bootstrapped(path, *versions):
    environment = {"PATH": f"{path}:{os.environ['PATH']}"}
    command = ["/bin/bash", str(EMR / "bootstrap.sh"), *versions]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


class TestBootstrap:
    """On a node where Python 3.99 is the one that is wanted, and dnf writes down what it is asked for."""

    def test_installs_nothing_where_the_python_is_there(self, tmp_path):
        program(tmp_path, "python3.99", "echo Python 3.99.1")
        program(tmp_path, "sudo", "exit 7")
        done = bootstrapped(tmp_path, "3.99")
        assert (done.returncode, done.stdout) == (0, "Python 3.99.1\n"), done.stderr

    def test_installs_the_python_that_is_not(self, tmp_path):
        program(tmp_path, "sudo", 'exec "$@"')
        made = f"printf '#!/bin/sh\\necho Python 3.99.2\\n' > {shlex.quote(str(tmp_path))}/python3.99"
        program(tmp_path, "dnf", f'echo "$@" > {tmp_path}/asked\n{made}\nchmod +x {tmp_path}/python3.99')
        done = bootstrapped(tmp_path, "3.99")
        assert (done.returncode, done.stdout) == (0, "Python 3.99.2\n"), done.stderr
        assert (tmp_path / "asked").read_text().split() == ["install", "--assumeyes", "--quiet", "python3.99"]

    def test_fails_where_it_cannot_be_installed_so_that_the_cluster_does_not_start(self, tmp_path):
        program(tmp_path, "sudo", "exit 1")
        assert bootstrapped(tmp_path, "3.99").returncode != 0

    def test_wants_a_version(self, tmp_path):
        done = bootstrapped(tmp_path)
        assert done.returncode != 0
        assert "name the version of Python" in done.stderr

    def test_is_asked_for_the_python_of_the_image(self):
        (action,) = request("cluster.json")["BootstrapActions"]
        wanted = re.search(r"^ARG PYTHON=(\S+)$", (EMR / "Dockerfile").read_text(), re.MULTILINE)
        assert action["ScriptBootstrapAction"]["Args"] == [wanted[1]]
