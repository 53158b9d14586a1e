"""A session that is started when it is asked for."""

import pytest

from median_spark.errors import EngineError
from median_spark.progress import SilentProgress
from median_spark.spark.engine import later, session
from median_spark.spark.engine.later import LaterSession, later_session, started
from median_spark.spark.engine.session import will_start_here


class TestLaterSession:
    def test_is_started_once_and_pending_until_then(self):
        starts = []
        found = LaterSession(lambda: starts.append("started") or "session", pending=True)
        assert found.pending
        assert [found.get(), found.get()] == ["session", "session"]
        assert not found.pending
        assert starts == ["started"]

    def test_that_is_there_is_never_pending(self):
        found = started("session")
        assert not found.pending
        assert found.get() == "session"


class TestWhatIsStartedHere:
    @pytest.fixture(autouse=True)
    def _no_session(self, monkeypatch):
        monkeypatch.setattr(session, "_existing", lambda: None)
        for name in ("SPARK_REMOTE", "PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION"):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize("master", [None, "local[2]"])
    def test_is_a_local_spark(self, master):
        assert will_start_here(master)

    @pytest.mark.parametrize("master", ["spark://host:7077", "sc://host:15002"])
    def test_is_none_that_works_elsewhere(self, master):
        assert not will_start_here(master)

    @pytest.mark.parametrize("name", ["PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION", "SPARK_REMOTE"])
    def test_is_none_that_a_platform_provides(self, monkeypatch, name):
        monkeypatch.setenv(name, "sc://host")
        assert not will_start_here(None)

    def test_needs_a_java_before_work_begins(self, monkeypatch, tmp_path):
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        with (
            pytest.raises(EngineError, match="Spark needs Java"),
            later_session(None, debug=False, progress=SilentProgress()),
        ):
            pytest.fail("work began")

    def test_is_started_at_once_where_nothing_is_gained_by_waiting(self, monkeypatch):
        starts = []

        class Starting:
            def __enter__(self):
                starts.append("started")

            def __exit__(self, *_):
                starts.append("stopped")

        monkeypatch.setattr(later, "session_with_classes", lambda *_, **__: Starting())
        with later_session("spark://host:7077", debug=False, progress=SilentProgress()):
            assert starts == ["started"]
        assert starts == ["started", "stopped"]
        with later_session("local[2]", debug=False, progress=SilentProgress()) as found:
            assert starts == ["started", "stopped"]
            found.get()
            assert starts[2:] == ["started"]
        assert starts[2:] == ["started", "stopped"]
