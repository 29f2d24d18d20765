"""Lakegate, serving a folder of manifests."""

import contextlib
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import peers


@contextlib.contextmanager
def serving(binary: str, manifests: str | pathlib.Path) -> Iterator[tuple[int, int]]:
    """A serve of the folder in a new state directory: its process and its port."""
    with tempfile.TemporaryDirectory() as state:
        port = peers.free_port()
        process = subprocess.Popen(
            [binary, "serve", manifests, "--state-dir", state, "--listen", f"127.0.0.1:{port}",
             "--http", f"127.0.0.1:{peers.free_port()}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()
