"""What everything here needs: where things are, free ports, and waiting."""

import os
import pathlib
import socket
import subprocess
import time

CLUSTER_TESTS = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = CLUSTER_TESTS.parent.parent
CACHE = pathlib.Path(os.environ.get("LAKEGATE_CACHE", pathlib.Path.home() / ".cache/lakegate"))


def lakegate_binary():
    """The binary under test: LAKEGATE_BINARY, else that of the development profile."""
    target = os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")
    binary = pathlib.Path(os.environ.get("LAKEGATE_BINARY", f"{target}/debug/lakegate"))
    if not binary.exists():
        raise FileNotFoundError(f"no binary at {binary}: build it, or name it with LAKEGATE_BINARY")
    return binary


def tool(path, cure):
    """A program below the cache of the tests."""
    found = CACHE / path
    if not found.exists():
        raise FileNotFoundError(f"{found} is absent: run {cure}")
    return str(found)


def run(*command, check=True, **options):
    """Runs a command to its end; its output is text. A failure shows what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what, condition, within=120.0, every=0.2):
    """Asks until the answer is true, and gives it back. `what` is what did not happen otherwise."""
    until = time.monotonic() + within
    error = None
    while True:
        try:
            answer = condition()
            error = None
        except (OSError, AssertionError) as failure:
            answer, error = None, failure
        if answer:
            return answer
        if time.monotonic() >= until:
            raise AssertionError(f"within {within:g} s it did not happen that {what}" + (f": {error}" if error else ""))
        time.sleep(every)


def never(what, condition, during, every=0.2):
    """Asks for a while; fails as soon as the answer is true."""
    until = time.monotonic() + during
    while time.monotonic() < until:
        answer = condition()
        assert not answer, f"{what}: {answer}"
        time.sleep(every)
