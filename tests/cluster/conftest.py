"""What several tests on real engines share."""

import pytest
from s3_server import s3_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An S3 server of a module's own, to which this process's environment leads."""
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as running:
        for name, value in running.variables.items():
            patch.setenv(name, value)
        yield running
