"""An API server for the time of a measurement: started by tests/cluster, asked over HTTP, its audit log read."""

import base64
import collections
import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import pathlib
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator

import yaml

GROUP = "/apis/lakegate.dev/v1alpha1"
KEPT_SECONDS = 30
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that the API server has answered, or a watch that it began to."""

    user: str
    verb: str
    resource: str
    stage: str

    def is_write(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete", "deletecollection")


class Refused(Exception):
    """The API server's word against a request."""


class Api:
    """One connection a thread. Requests are JSON; answers are objects."""

    def __init__(self, kubeconfig: pathlib.Path):
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.config = config
        self.address = urllib.parse.urlparse(cluster["server"]).netloc
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        self.headers = {"Authorization": f"Bearer {user['token']}"}
        self.local = threading.local()

    def _connection(self) -> http.client.HTTPSConnection:
        now = time.monotonic()
        # The API server closes a connection over which nothing is asked for a while.
        if now - getattr(self.local, "used", now - KEPT_SECONDS) >= KEPT_SECONDS:
            self.local.connection = http.client.HTTPSConnection(self.address, context=self.tls, timeout=60)
        self.local.used = now
        return self.local.connection

    def ask(self, verb: str, path: str, body: object = None, kind: str = "application/json") -> dict:
        headers = self.headers | ({"Content-Type": kind} if body is not None else {})
        connection = self._connection()
        connection.request(verb, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Refused(f"{verb} {path}: {answer.status} {text.decode()[:500]}")
        return json.loads(text)

    def create(self, path: str, body: dict) -> dict:
        return self.ask("POST", path, body)

    def merge(self, path: str, body: dict) -> dict:
        return self.ask("PATCH", path, body, "application/merge-patch+json")

    def apply(self, path: str, body: dict, manager: str) -> dict:
        query = urllib.parse.urlencode({"fieldManager": manager, "force": "true"})
        return self.ask("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")

    def listed(self, path: str) -> tuple[list[dict], str]:
        """Every object, and the version that a watch goes on from."""
        objects, proceed = [], ""
        while True:
            page = self.ask("GET", f"{path}?" + urllib.parse.urlencode({"limit": 500, "continue": proceed}))
            objects += page["items"]
            proceed = page["metadata"].get("continue", "")
            if not proceed:
                return objects, page["metadata"]["resourceVersion"]

    def watch(self, path: str, version: str) -> Iterator[dict]:
        """Each change after the version."""
        while True:
            connection = http.client.HTTPSConnection(self.address, context=self.tls)
            query = urllib.parse.urlencode({"watch": "true", "resourceVersion": version})
            connection.request("GET", f"{path}?{query}", headers=self.headers)
            # The API server ends a watch whose reader falls behind: it goes on from there.
            with contextlib.closing(connection), connection.getresponse() as events:
                for line in events:
                    changed = json.loads(line)["object"]
                    version = changed["metadata"]["resourceVersion"]
                    yield changed


def all_of(work: Callable[[object], object], items: Iterable[object], hands: int = 8) -> list:
    """What the work makes of each item, by several hands."""
    with concurrent.futures.ThreadPoolExecutor(hands) as pool:
        return list(pool.map(work, items))


class Audit:
    """The audit log, read on from where it was read last."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.position = 0

    def news(self) -> list[Request]:
        with self.path.open("rb") as log:
            log.seek(self.position)
            text = log.read()
        # A line that is being written is read the next time.
        whole = text[: text.rfind(b"\n") + 1]
        self.position += len(whole)
        return [self._request(json.loads(line)) for line in whole.splitlines()]

    @staticmethod
    def _request(event: dict) -> Request:
        user = event.get("impersonatedUser", event["user"])["username"]
        reference = event.get("objectRef", {})
        names = (reference.get("resource", event["requestURI"]), reference.get("subresource"))
        return Request(user, event["verb"], "/".join(filter(None, names)), event["stage"])

    def writes(self, user: str) -> collections.Counter:
        """Writes of a user since the last look, by verb and resource."""
        return collections.Counter(
            f"{request.verb} {request.resource}" for request in self.news() if request.user == user and request.is_write()
        )


class Cluster:
    """etcd and an API server with Lakegate's definitions; a controller manager when asked for."""

    def __init__(self, directory: pathlib.Path, scratch: pathlib.Path):
        self.directory = directory
        self.scratch = scratch
        self.api = Api(directory / "admin.kubeconfig")
        self.audit = Audit(directory / "log" / "audit.log")

    def process(self, name: str) -> int:
        return int((self.directory / f"{name}.pid").read_text())

    def kubeconfig_of(self, user: str, namespace: str) -> pathlib.Path:
        """For a process whose requests can be told from others' in the audit log."""
        config = json.loads(json.dumps(self.api.config))
        config["users"][0]["user"] |= {"as": user, "as-groups": ["system:masters"]}
        config["contexts"][0]["context"]["namespace"] = namespace
        path = self.scratch / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def start_controllers(self) -> None:
        subprocess.run(["bash", "tests/cluster/up.sh", self.directory], check=True, stdout=subprocess.DEVNULL)

    def install(self) -> None:
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for path in sorted(pathlib.Path("crds/generated").glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            self.api.apply(f"{definitions}/{definition['metadata']['name']}", definition, "bench")
            until(f"{path.name} is served", lambda name=definition["spec"]["names"]["plural"]: self._serves(name))

    def _serves(self, plural: str) -> bool:
        with contextlib.suppress(Refused):
            self.api.ask("GET", f"{GROUP}/{plural}?limit=1")
            return True
        return False


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="lakegate-bench-") as scratch:
        directory = pathlib.Path(scratch)
        policy = directory / "audit.yaml"
        policy.write_text(yaml.safe_dump(POLICY))
        session = subprocess.Popen(
            ["env", f"LAKEGATE_AUDIT_POLICY={policy}", "bash", "tests/cluster/session.sh", "--api", directory / "cluster"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            kubeconfig = session.stdout.readline().strip()
            assert kubeconfig, "no API server: see above"
            started = Cluster(pathlib.Path(kubeconfig).parent, directory)
            started.install()
            yield started
        finally:
            # The session ends with its standard input, and takes its directory with it.
            session.stdin.close()
            session.wait()


def until(what: str, is_so: Callable[[], bool], patience: float = 180, pause: float = 0.05) -> float:
    """Waits; the seconds that it took."""
    begin = time.perf_counter()
    while not is_so():
        if time.perf_counter() - begin > patience:
            raise TimeoutError(f"not within {patience} s: {what}")
        time.sleep(pause)
    return time.perf_counter() - begin
