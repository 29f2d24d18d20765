"""Lakegate, serving a folder of manifests."""

import contextlib
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import peers


@contextlib.contextmanager
def serving(
    binary: str, manifests: str | pathlib.Path, state: str | pathlib.Path | None = None
) -> Iterator[tuple[int, int]]:
    """A serve of the folder, in a new state directory unless there is one: its process and its port."""
    with contextlib.ExitStack() as stack:
        state = state or stack.enter_context(tempfile.TemporaryDirectory())
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
