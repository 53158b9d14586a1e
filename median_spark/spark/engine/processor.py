"""The instructions of this machine's processor that numpy should not sort with. Knows nothing of Spark."""

import os
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.lib import NumpyVersion

DISABLED, ENABLED = "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES"
"""Variables of the environment that numpy reads when it is imported."""

_CPUINFO = Path("/proc/cpuinfo")
_ZEN_4 = ("AuthenticAMD", "25")
"""Vendor and family of Zen 4, which writes compressed vectors to memory in microcode: numpy's AVX-512 sort does so at
every step, and takes four to five times as long as its AVX2 sort. Zen 3, of the same family, has no AVX-512; later
families and Intel's processors are fastest with it. OpenJDK has the same rule for its own sort."""


def worker_environment() -> dict[str, str]:
    """Return the variables with which a Python worker on this machine sorts fastest; what a user has set stays."""
    if DISABLED in os.environ or ENABLED in os.environ:
        return {}
    try:
        cpuinfo = _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        return {}
    features = slow_features(cpuinfo, np.__version__, _dispatched())
    return {DISABLED: " ".join(features)} if features else {}


def slow_features(cpuinfo: str, numpy_version: str, dispatched: list[str]) -> list[str]:
    """Return those of numpy's features with which this processor sorts more slowly than without.

    Parameters
    ----------
    cpuinfo
        Content of ``/proc/cpuinfo``.
    numpy_version
        Version of numpy; before 2.0 it had no AVX2 sort to fall back on.
    dispatched
        Names of the features that numpy can be told to leave; they differ between versions.
    """
    lines = (line.split(":", 1) for line in cpuinfo.split("\n\n", 1)[0].splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in lines}
    if (facts.get("vendor_id"), facts.get("cpu family")) != _ZEN_4 or "avx512f" not in facts.get("flags", "").split():
        return []
    if NumpyVersion(numpy_version) < "2.0.0":
        return []
    return [feature for feature in dispatched if feature.startswith(("AVX512", "X86_V4"))]


def _dispatched() -> list[str]:
    """Return the features that this numpy has code for beside its baseline, which cannot be disabled."""
    try:
        compiled = import_module("numpy._core._multiarray_umath")
    except ImportError:  # numpy 1
        return []
    return list(compiled.__cpu_dispatch__)
