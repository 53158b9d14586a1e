"""Secrets in locations: refused before anything is said or recorded, and not repeated."""

import itertools
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from median_spark import storage
from median_spark.cli import main
from median_spark.errors import UsageError

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCY"
SCHEMES = ("s3", "S3", "s3a", "S3N", "gs", "GCS", "https", "HTTPS", "http", "hdfs", "abfss", "ftp", "webdav+x")
PARAMETERS = (
    "sig", "SIG", "X-Amz-Signature", "x-amz-signature", "X-Amz-Credential", "X-Amz-Security-Token", "X-Goog-Signature",
    "X-Goog-Credential", "token", "Token", "access_token", "access_key", "ACCESS_KEY", "secret_key", "session_token",
    "AWSAccessKeyId", "Signature", "AccountKey", "password", "passwd", "pwd", "api_key", "client_secret", "sas",
)  # fmt: skip


def refused(location):
    with pytest.raises(UsageError) as error:
        storage.canonical(location)
    for secret in (KEY, SECRET, quote(SECRET, safe="")):
        assert secret not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_keys_before_a_host_are_refused(scheme):
    secrets = (SECRET, f"{SECRET}/x", f"ab/{SECRET}", f"{SECRET}@x", f"{SECRET}?a=b", f"+{SECRET}=")
    for secret, times, slashes in itertools.product(secrets, (0, 1, 2), ("//", "/")):
        keys = f"{KEY}:{secret}@"
        for _ in range(times):
            keys = quote(keys, safe="")
        assert "carries no keys" in refused(f"{scheme}:{slashes}{keys}bucket/corpus/study.loom")


@pytest.mark.parametrize("scheme", ["s3", "S3", "gs", "https"])
def test_a_key_alone_before_a_host_is_refused(scheme):
    assert "carries no keys" in refused(f"{scheme}://{KEY}@bucket/a.loom")


@pytest.mark.parametrize("scheme", ["https", "S3", "abfss", "gs"])
@pytest.mark.parametrize(
    "form", ["?{}={}", "?se=2030&sp=r&{}={}", "?{}={}&se=2030", "#{}={}", "%3F{}%3D{}", "%253F{}%253D{}"]
)
def test_a_secret_among_parameters_is_refused(scheme, form):
    for name in PARAMETERS:
        said = refused(f"{scheme}://container/a/b.h5ad{form.format(name, SECRET)}")
        assert said.startswith(f"{scheme}://container/…: a location carries no secret such as ")


@pytest.mark.parametrize(
    "location",
    [
        "abfss://container@account.dfs.core.windows.net/a",
        "hdfs://me@host:8020/a@b",
        "hdfs://host:8020/a:b@c",
        "s3://bucket/a@b:c/d@e.loom",
        "s3://bucket/token=3/part.h5ad",
        "s3://bucket/who?me=you.loom",
        "s3://bucket/*/study?.loom",
        "/data/a:b@c/?token=3.loom",
        "/data/signature=1/x.loom",
    ],
)
def test_what_is_no_secret_is_taken(location):
    assert storage.canonical(location) == location


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("S3://Bucket/Key", "s3://Bucket/Key"),
        ("S3A://bucket/a/", "s3://bucket/a"),
        ("FILE:///a/B", "/a/B"),
        ("DBFS:/a/B", "/dbfs/a/B"),
        ("file:/a:b/c@d", "/a:b/c@d"),
    ],
)
def test_schemes_are_known_in_any_case(given, expected):
    assert storage.canonical(given) == expected


@pytest.mark.parametrize(
    ("before", "after"), itertools.product(["", "error: '", "cannot read ("], ["", "' (403)", " is refused"])
)
def test_a_message_is_shown_without_secrets(before, after):
    for uri in (f"s3://{KEY}:{SECRET}@bucket/a", f"https://x/a?se=2030&sig={SECRET}&sp=r", f"sc://h:1/;token={SECRET}"):
        shown = storage.without_secrets(f"{before}{uri}{after}")
        assert SECRET not in shown
        assert KEY not in shown
        assert shown.startswith(before)
        assert shown.endswith(after)


@given(st.text(st.characters(exclude_characters=":?&;#%="), max_size=200))
def test_a_message_without_a_uri_stays_as_it_is(text):
    assert storage.without_secrets(text) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "URI"],
        ["inspect", "a.loom", "URI"],
        ["convert", "URI", "--out", "x"],
        ["verify", "a", "b", "--genes", "URI"],
        ["merge", "URI", "--out", "x"],
        ["remove", "URI", "a"],
        ["report", "URI"],
        ["report", "x", "--compare", "URI"],
        ["URI"],
        ["run", "a.loom", "--out", "x", "--gene-table", "URI"],
        ["run", "a.loom", "--out", "x", "--gene-map", "URI"],
    ],
)
@pytest.mark.parametrize("uri", [f"S3://{KEY}:{SECRET}@bucket/a.loom", f"https://host/a.loom?se=1&SIG={SECRET}"])
def test_no_command_repeats_a_secret(arguments, uri, capsys):
    try:
        status = main([uri if argument == "URI" else argument for argument in arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    said = "".join(capsys.readouterr())
    assert SECRET not in said
    assert KEY not in said
