"""Peak memory of this process."""

import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Measure the largest resident memory of this process so far, in MB (10^6 bytes).

    Linux is asked for the high-water mark of this program: what `getrusage` gives there includes
    the program that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if marks:
            return int(marks[0].split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
