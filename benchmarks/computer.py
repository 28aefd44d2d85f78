"""Where something was measured."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any


def computer(threads: int) -> dict[str, Any]:
    """Processor, system and date, and the number of threads that were asked for."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
