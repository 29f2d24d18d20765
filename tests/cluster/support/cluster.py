"""A cluster of up.sh: what is asked of it, and the faults of its own parts."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import ssl
import subprocess
import urllib.request

import yaml

from .common import CLUSTER_TESTS, REPOSITORY, eventually, free_port, lakegate_binary, run, tool

IMAGE = "localhost/lakegate:faults"


class Cluster:
    """etcd, the API server, the controllers and one node, each a process of this machine."""

    def __init__(self, directory, is_kept):
        """`is_kept`: the cluster may run already, and goes on when this process ends."""
        self.directory = pathlib.Path(directory)
        self.kubectl_binary = tool("kube-bin/kubectl", "tests/cluster/prepare.sh")
        self._session = None
        if is_kept:
            self.start_what_is_down()
        else:
            # It lasts as long as the other end of its standard input is open.
            command = ["bash", str(CLUSTER_TESTS / "session.sh"), "--node", str(self.directory)]
            self._session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            assert self._session.stdout.readline(), "the cluster does not start"
        self.ports = dict(line.split("=") for line in (self.directory / "ports").read_text().split())
        self.server = f"https://127.0.0.1:{self.ports['api_port']}"
        self.authority = self.directory / "pki/ca.crt"

    def start_what_is_down(self):
        """Starts the cluster, or those of its parts that do not run any more."""
        run("bash", CLUSTER_TESTS / "up.sh", "--node", self.directory)

    def stop(self):
        if self._session:
            self._session.stdin.close()
            self._session.wait(timeout=60)

    # -- the API

    def kubectl(self, *arguments, namespace=None, stdin=None, check=True):
        scope = ["-n", namespace] if namespace else []
        return run(self.kubectl_binary, "--kubeconfig", self.directory / "admin.kubeconfig",
                   "--cache-dir", self.directory / "kubectl-cache", *scope, *arguments, input=stdin, check=check)

    def get(self, kind, namespace, *selector):
        """Objects of a kind, as they are."""
        answer = self.kubectl("get", kind, *selector, "-o", "json", namespace=namespace)
        found = json.loads(answer.stdout)
        return found["items"] if "items" in found else found

    def apply(self, *objects, namespace=None):
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", namespace=namespace,
                     stdin=yaml.safe_dump_all(objects))

    def patch(self, kind, name, patch, namespace=None):
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch), namespace=namespace)

    def token(self, account, namespace):
        return self.kubectl("create", "token", account, "--duration=2h", namespace=namespace).stdout.strip()

    def definitions(self):
        """Lakegate's own definitions, as the binary under test prints them."""
        return list(yaml.safe_load_all(run(lakegate_binary(), "crds").stdout))

    # -- the image

    def import_image(self, directory):
        """Makes the image of the binary under test known to the node."""
        stripped = directory / "lakegate-stripped"
        run("strip", "-o", stripped, lakegate_binary())
        archive = subprocess.Popen([str(REPOSITORY / "image/archive.sh"), IMAGE, str(stripped)], stdout=subprocess.PIPE)
        run(*self._containerd("image", "import", "-"), stdin=archive.stdout)
        assert archive.wait() == 0, "the image could not be made"
        stripped.unlink()

    def _containerd(self, *arguments):
        return ["ctr", "-a", self.directory / "cri/containerd.sock", "-n", "k8s.io", *arguments]

    # -- faults of its parts

    def pid(self, part):
        return int((self.directory / f"{part}.pid").read_text())

    def kill(self, part):
        """Ends a part of the cluster at once, as a machine that loses its power would."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        eventually(f"{part} has ended", lambda: not _is_alive(pid))

    @contextlib.contextmanager
    def another_api_server(self):
        """The address of one more API server of this cluster, which remembers nothing from before it began."""
        command = pathlib.Path(f"/proc/{self.pid('apiserver')}/cmdline").read_bytes().decode().split("\0")[:-1]
        port = free_port()
        command[command.index("--secure-port") + 1] = str(port)
        with open(self.directory / "log/another-apiserver.log", "wb") as log:
            server = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log)
        try:
            address = f"https://127.0.0.1:{port}"
            trust = ssl.create_default_context(cafile=str(self.authority))

            def is_ready():
                with urllib.request.urlopen(f"{address}/readyz", context=trust, timeout=5) as answer:
                    return answer.status == 200

            eventually("another API server answers", is_ready, within=120)
            yield address
        finally:
            server.kill()
            server.wait()

    def compact(self):
        """Has etcd forget every version but the newest. Gives back its revision."""
        status = self._etcd("v3/maintenance/status", {})
        revision = status["header"]["revision"]
        self._etcd("v3/kv/compaction", {"revision": revision, "physical": True})
        return int(revision)

    def _etcd(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['etcd_port']}/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def container_process(self, namespace, pod, container="worker"):
        """Id of the process that a container's entry point is, on this machine."""
        wanted = {"io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.name": pod,
                  "io.kubernetes.container.name": container}
        for line in run(*self._containerd("task", "ls")).stdout.splitlines()[1:]:
            name, pid, state = line.split()
            if state != "RUNNING":
                continue
            found = run(*self._containerd("container", "info", name), check=False)
            labels = json.loads(found.stdout)["Labels"] if found.returncode == 0 else {}
            if wanted.items() <= labels.items():
                return int(pid)
        return None


def kubeconfig(server, token, authority=None):
    """A kubeconfig of one account."""
    cluster = {"server": server}
    if authority:
        cluster["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })


def _is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"
