"""What conf/dataproc asks of Google Cloud: arguments that the command takes, and fields of the service's own models."""

import json
from pathlib import Path

import pytest

from median_spark.cli.arguments import COMMANDS, build_parser

TEXT = (Path(__file__).parents[2] / "conf" / "dataproc" / "batch.json").read_text(encoding="utf-8")


def test_the_batch_runs_the_command():
    batch = json.loads(TEXT)["pysparkBatch"]
    assert batch["mainPythonFileUri"].endswith("/run.py")
    args = build_parser(dict.fromkeys(COMMANDS)).parse_args(["run", *batch["args"]])
    assert (args.inputs, args.out) == (["gs://${BUCKET}/corpus"], "gs://${BUCKET}/run1")


def test_memory_and_cores_are_those_that_the_service_takes():
    """Of a core 1 to 7.25 GB, and 4, 8 or 16 cores, as Google's page on batch properties says."""
    properties = json.loads(TEXT)["runtimeConfig"]["properties"]
    for role in ("driver", "executor"):
        cores = int(properties[f"spark.{role}.cores"])
        gigabytes = sum(
            int(properties[f"spark.{role}.{name}"].removesuffix("g")) for name in ("memory", "memoryOverhead")
        )
        assert cores in {4, 8, 16}
        assert 1 <= gigabytes / cores <= 7.25


def test_the_request_is_one_of_the_client_s_own_models():
    dataproc = pytest.importorskip("google.cloud.dataproc_v1")
    refused = pytest.importorskip("google.protobuf.json_format").ParseError
    batch = dataproc.Batch.from_json(TEXT, ignore_unknown_fields=False)
    assert dataproc.CreateBatchRequest(parent="projects/p/locations/l", batch=batch, batch_id="median-spark").batch
    wrong = json.loads(TEXT)
    wrong["runtimeConfig"]["nope"] = 1
    with pytest.raises(refused, match="no field named"):
        dataproc.Batch.from_json(json.dumps(wrong), ignore_unknown_fields=False)
