"""Which of numpy's features a processor sorts faster without, and that sorting gives the same bits without them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from median_spark.spark.engine import processor
from median_spark.spark.engine.processor import DISABLED, ENABLED, slow_features, worker_environment

CPUINFO = """processor\t: {number}
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
flags\t\t: fpu sse2 avx2 {flags}
bogomips\t: 5200.00

"""

ZEN_4 = {"vendor": "AuthenticAMD", "family": 25, "model": 17, "name": "AMD EPYC 9R14", "flags": "avx512f avx512bw"}
OTHERS = {
    "Zen 3": ZEN_4 | {"model": 1, "name": "AMD EPYC 7R13", "flags": ""},
    "Zen 5": ZEN_4 | {"family": 26, "model": 2, "name": "AMD EPYC 9R45"},
    "Sapphire Rapids": ZEN_4 | {"vendor": "GenuineIntel", "family": 6, "model": 143, "name": "Intel Xeon"},
}

NUMPY_2 = ["X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR"]
NUMPY_2_0 = ["SSE41", "AVX2", "FMA3", "AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_ICL", "AVX512_SPR"]


def cpuinfo(**facts):
    return "".join(CPUINFO.format(number=number, **facts) for number in range(2))


class TestSlowFeatures:
    def test_are_those_of_avx512_on_zen_4(self):
        assert slow_features(cpuinfo(**ZEN_4), "2.4.6", NUMPY_2) == ["X86_V4", "AVX512_ICL", "AVX512_SPR"]

    def test_have_other_names_in_earlier_versions_of_numpy(self):
        expected = ["AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_ICL", "AVX512_SPR"]
        assert slow_features(cpuinfo(**ZEN_4), "2.0.0", NUMPY_2_0) == expected

    def test_are_none_where_numpy_has_no_avx2_sort(self):
        assert slow_features(cpuinfo(**ZEN_4), "1.26.4", NUMPY_2_0) == []

    @pytest.mark.parametrize("name", OTHERS)
    def test_are_none_on_other_processors(self, name):
        assert slow_features(cpuinfo(**OTHERS[name]), "2.4.6", NUMPY_2) == []

    @pytest.mark.parametrize("text", ["", "processor\t: 0\nBogoMIPS\t: 243.75\nCPU part\t: 0xd40\n\n"])
    def test_are_none_where_the_system_tells_nothing_of_the_kind(self, text):
        assert slow_features(text, "2.4.6", NUMPY_2) == []


class TestWorkerEnvironment:
    @pytest.fixture(autouse=True)
    def _zen_4(self, monkeypatch, tmp_path):
        (tmp_path / "cpuinfo").write_text(cpuinfo(**ZEN_4))
        monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
        for name in (DISABLED, ENABLED):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)

    def test_names_features_that_this_numpy_has_code_for(self, monkeypatch):
        monkeypatch.setattr(processor, "_dispatched", lambda: NUMPY_2)
        assert worker_environment() == {DISABLED: "X86_V4 AVX512_ICL AVX512_SPR"}
        monkeypatch.undo()
        assert set(worker_environment().get(DISABLED, "").split()) <= set(__cpu_dispatch__)

    @pytest.mark.parametrize("name", [DISABLED, ENABLED])
    def test_is_the_user_s_where_one_is_set(self, monkeypatch, name):
        monkeypatch.setenv(name, "AVX512_SPR")
        assert worker_environment() == {}

    def test_is_empty_where_there_is_no_such_file(self, monkeypatch, tmp_path):
        monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
        assert worker_environment() == {}


DIGESTS = """
import hashlib, warnings
warnings.simplefilter("error")
import numpy as np
from median_spark.digests import digest_values, sort_values
from median_spark.gene_values import GeneValues
random = np.random.default_rng(11)
lengths = np.concatenate([np.arange(1, 400), random.integers(400, 200_000, 40)])
genes = np.array([f"gene {number:05}" for number in range(len(lengths))])
counts, totals = random.geometric(0.3, lengths.sum()), random.integers(500, 60_000, lengths.sum())
values = GeneValues(genes, np.append(0, np.cumsum(lengths)), counts / totals * 10_000)
sort_values(values)
found = hashlib.sha256(values.values.tobytes())
for compression in (20, 200, 1000):
    for digest in digest_values(values, compression):
        found.update(digest.means.tobytes() + digest.weights.tobytes())
print(found.hexdigest())
"""


def test_sorted_values_and_digests_have_the_same_bits_without_these_features():
    wanted = slow_features(cpuinfo(**ZEN_4), np.__version__, list(__cpu_dispatch__))
    if not any(__cpu_features__[feature] for feature in wanted):
        pytest.skip("this processor has no AVX-512")
    found = set()
    for disabled in ("", " ".join(wanted)):
        environment = os.environ | {DISABLED: disabled}
        done = subprocess.run(
            [sys.executable, "-c", DIGESTS], env=environment, capture_output=True, text=True, check=True
        )
        found.add(done.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == 64
