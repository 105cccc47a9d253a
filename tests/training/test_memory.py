"""Memory freed by one step serves the next."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import os, resource, sys
os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as `bcprobe train` sets it
import torch
from bcprobe.machine import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(2):
    torch.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(8 << 20)  # 32 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    command = [sys.executable, "-c", STEPS, mode]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_not_asked_for_again():
    kept = min(page_faults("keep") for _ in range(4))  # the system may take idle pages away
    assert kept * 10 < page_faults("return")
