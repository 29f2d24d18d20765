"""What the kernel says of a process."""

import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")


def memory(process: int) -> dict[str, float]:
    """MiB resident: now, of the process's own, of mapped files (the binary), and at the most so far."""
    found = {}
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "RssAnon", "RssFile", "VmHWM"):
            found[name] = int(rest.split()[0]) / 1024
    return found


def processor_seconds(process: int) -> float:
    """Seconds of a core that the process has used since it began."""
    # The second field is the program's name, which may hold anything.
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / TICKS
