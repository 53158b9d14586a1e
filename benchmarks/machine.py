"""What the benchmarks ran on: no names, no paths."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

_LIBRARIES = ("pyspark", "pyarrow", "numpy", "h5py", "crick", "deflate", "duckdb", "polars", "loompy")


def describe_machine() -> dict[str, str]:
    """Return the machine's description, by what is described."""
    return {
        "Processor": _processor(),
        "Cores": str(cores()),
        "Memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "System": _system(),
        "Python": platform.python_version(),
        "Java": _java(),
        "median_spark": version("median_spark"),
        **{name: version(name) for name in _LIBRARIES},
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Return the processor's name, family and model: names of virtual machines' processors tell little."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = [re.search(rf"^{field}\s*:\s*(.+)$", text, re.MULTILINE) for field in ("model name", "cpu family", "model")]
    if found[0] is None:
        return platform.processor() or platform.machine()
    name, family, model = (match[1] if match else "unknown" for match in found)
    return f"{name}, family {family}, model {model}"


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.system()} {platform.release()}"
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else "java"
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "([^"]+)"', told)
    return found[1] if found else "unknown"
