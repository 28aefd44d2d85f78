"""Memory that the C library keeps, told by the pages that the system had to clear."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import numpy as np
from aocsim.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(2**19) for _ in range(3)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
told = keep_freed_memory()
faults()
print(json.dumps([told, before, faults()]))
"""


def run(**environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_arrays_of_megabytes_take_the_pages_of_those_before():
    """Three of 4 MiB, made and dropped 20 times: 61,440 pages of 4 KiB if each is cleared anew."""
    told, before, after = run()
    if not told:
        pytest.skip("another C library")
    assert after < before / 10


@pytest.mark.parametrize(
    "given", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_limits_of_the_environment_stay(given):
    told, *_ = run(**given)
    assert not told
