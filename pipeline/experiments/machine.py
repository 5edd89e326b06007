"""Says what machine this is."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """Cores and processor, such as `2 cores of AMD EPYC`; a container may have fewer than the machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} core{'' if cores == 1 else 's'} of {names[0] if names else platform.machine()}"
