"""Times, memory and how they are told."""

import statistics
import threading
import time
from collections.abc import Callable

from processes import memory


def warm(ask: Callable[[], object]) -> list[float]:
    """Milliseconds of each of 20, after 3 that do not count."""
    for _ in range(3):
        ask()
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        ask()
        times.append((time.perf_counter() - begin) * 1000)
    return times


def growth(process: int, work: Callable[[], str]) -> tuple[str, float]:
    """What the work says, and by how many MiB the process's RSS rose at most while it went on."""
    before = memory(process)["VmRSS"]
    peak = [before]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], memory(process)["VmRSS"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = work()
    done.set()
    watcher.join()
    return said, peak[0] - before


def report(what: str, values: list[float], unit: str, target: float | None = None) -> None:
    median = statistics.median(values)
    line = f"{what}: median {median:.3g} {unit} (min {min(values):.3g}, max {max(values):.3g}, n={len(values)})"
    if target is not None:
        line += f"; target {target:g} {unit}: {'within' if median <= target else 'OVER'}"
    print(line, flush=True)
