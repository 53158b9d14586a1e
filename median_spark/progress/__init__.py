"""What a person sees while the work goes on: a bar on a terminal, plain lines elsewhere, or nothing."""

from median_spark.progress.choose import BothReporters, reporter
from median_spark.progress.contract import (
    ConvertState,
    ProgressReporter,
    SilentProgress,
    StageReporter,
    StageState,
    stage_reporter,
)
from median_spark.progress.lines import LogLines, PlainLines
from median_spark.progress.terminal import TerminalBar

__all__ = [
    "BothReporters",
    "ConvertState",
    "LogLines",
    "PlainLines",
    "ProgressReporter",
    "SilentProgress",
    "StageReporter",
    "StageState",
    "TerminalBar",
    "reporter",
    "stage_reporter",
]
