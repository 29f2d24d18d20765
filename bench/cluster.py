"""The operator over a thousand Exports with five runs each, on a real API server; see cluster.sh.

Nothing here stands for something else: a release binary, etcd and an API server, PostgreSQL with the thousand tables, an
S3 server. What the operator asks of the API server is read from the audit log."""

import collections
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

import api
import fleet
import peers
from processes import memory, processor_seconds

OPERATOR = "lakegate-operator"
GATEWAY = "lakegate-gateway"
LEASE = "update leases"
IDLE_SECONDS = int(os.environ.get("LAKEGATE_BENCH_IDLE", "300"))
SCRAPE_SECONDS = 15
CHANGES = 200
# Without a write for so long the operator counts as settled: longer than what comes late, such as Events.
QUIET_SECONDS = 6

CONTROLLERS = "kube-controller-manager"
PARTS = {"apiserver": "API server", "etcd": "etcd", "controller-manager": CONTROLLERS}


class Bench:
    def __init__(self, binary: str, cluster: api.Cluster):
        self.binary = binary
        self.cluster = cluster
        self.missed: list[str] = []
        # When which generation of which Export was first seen in its status.
        self.seen: dict[tuple[str, int], float] = {}

    def tell(self, what: str, value: float, unit: str, target: float | None = None) -> None:
        line = f"{what}: {value:.3g} {unit}"
        if target is not None:
            within = value <= target
            line += f"; target {target:g} {unit}: {'within' if within else 'OVER'}"
            if not within:
                self.missed.append(line)
        print(line, flush=True)

    @contextlib.contextmanager
    def process(self, command: str, user: str, *options: str) -> Iterator[tuple[subprocess.Popen, str]]:
        """A process of ours with a new state directory, and the address of its metrics."""
        port = peers.free_port()
        kubeconfig = self.cluster.kubeconfig_of(user, fleet.NAMESPACE)
        with tempfile.TemporaryDirectory() as state, (self.cluster.scratch / f"{user}.log").open("ab") as log:
            process = subprocess.Popen(
                [self.binary, command, "--namespace", fleet.NAMESPACE, "--state-dir", state, "--http", f"127.0.0.1:{port}",
                 *options],
                env=os.environ | {"KUBECONFIG": str(kubeconfig)}, stdout=log, stderr=log)
            try:
                yield process, f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait()

    def operator(self) -> contextlib.AbstractContextManager[tuple[subprocess.Popen, str]]:
        return self.process("operator", OPERATOR, "--worker-image", "example.com/lakegate:bench")

    def exports(self) -> list[dict]:
        return self.cluster.api.listed(f"{fleet.RESOURCES}/exports")[0]

    def settle(self) -> tuple[collections.Counter, float]:
        """Waits until the operator writes nothing any more but its Lease: what it wrote, and when it wrote it last."""
        writes: collections.Counter = collections.Counter()
        last = time.perf_counter()
        while time.perf_counter() - last < QUIET_SECONDS:
            time.sleep(0.1)
            news = self.cluster.audit.writes(OPERATOR)
            writes += news
            if set(news) - {LEASE}:
                last = time.perf_counter()
        return writes, last

    def first_look(self) -> None:
        """The operator sees the fleet for the first time, and writes a status to each Export."""
        self.cluster.audit.news()
        begin = time.perf_counter()
        with self.operator() as (process, address):
            api.until("the operator is ready", lambda: is_ready(address), pause=0.5)
            writes, last = self.settle()
            unsettled = sum(not is_settled(it) for it in self.exports())
            assert not unsettled, f"{unsettled} Exports are not ready"
            self.tell("first look at the fleet, all written", last - begin, "s")
            print(f"  writes: {told(writes)}", flush=True)
            self.tell("  resident at the most", memory(process.pid)["VmHWM"], "MiB")

    def start_again(self, process: subprocess.Popen, address: str) -> None:
        """The operator starts over a fleet that it has written: it has nothing to say."""
        begin = time.perf_counter()
        api.until("the operator is ready", lambda: is_ready(address), pause=0.01)
        self.tell("start over the fleet, until all is known", time.perf_counter() - begin, "s")
        api.until("the operator decides", lambda: "lakegate_resource_ready" in scrape(address))
        self.tell("  until it decides", time.perf_counter() - begin, "s")
        time.sleep(QUIET_SECONDS)
        writes, _ = self.settle()
        writes.pop(LEASE, None)
        writes.pop("create leases", None)
        self.tell("  writes but of the Lease", writes.total(), "", 0)
        if writes:
            print(f"    {told(writes)}")
        self.tell("  resident at the most", memory(process.pid)["VmHWM"], "MiB", 150)

    def idle(self, process: subprocess.Popen, address: str) -> None:
        """Five minutes in which no run is due, with the metrics asked for as Prometheus would."""
        watched = {"operator": process.pid} | {title: self.cluster.process(name) for name, title in PARTS.items()}
        before = {title: processor_seconds(pid) for title, pid in watched.items()}
        resident = memory(process.pid)
        self.cluster.audit.news()
        begin = time.perf_counter()
        requests: list[api.Request] = []
        while (left := IDLE_SECONDS - (time.perf_counter() - begin)) > 0:
            time.sleep(min(left, SCRAPE_SECONDS))
            scrape(address)
            requests += [request for request in self.cluster.audit.news() if request.user == OPERATOR]
        passed = time.perf_counter() - begin
        after = {title: processor_seconds(pid) for title, pid in watched.items()}
        shares = {title: (after[title] - before[title]) / passed * 100 for title in watched}
        now = memory(process.pid)
        print(f"idle for {passed:.0f} s", flush=True)
        self.tell("  resident before", resident["VmRSS"], "MiB", 150)
        own, mapped = now["RssAnon"], now["RssFile"]
        self.tell(f"  resident after ({own:.0f} its own, {mapped:.0f} mapped code)", now["VmRSS"], "MiB", 150)
        self.tell("  of a core", shares["operator"], "%", 2)
        writes = collections.Counter(f"{it.verb} {it.resource}" for it in requests if it.is_write())
        print(f"  the Lease renewed: {writes.pop(LEASE, 0)}")
        self.tell("  other writes", writes.total(), "", 0)
        if writes:
            print(f"    {told(writes)}")
        reads = collections.Counter(
            f"{it.verb} {it.resource}" for it in requests if not it.is_write() and it.stage == "ResponseComplete")
        print(f"  reads: {told(reads)}")
        for name, title in PARTS.items():
            peer = memory(self.cluster.process(name))
            print(f"  {title}: {peer['VmRSS']:.0f} MiB resident, {shares[title]:.1f} % of a core", flush=True)

    def follow(self) -> None:
        """Follows the statuses of the Exports from now on."""
        _, version = self.cluster.api.listed(f"{fleet.RESOURCES}/exports")

        def take_in() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                for changed in self.cluster.api.watch(f"{fleet.RESOURCES}/exports", version):
                    key = (changed["metadata"]["name"], changed["status"]["observedGeneration"])
                    self.seen.setdefault(key, time.perf_counter())

        # It ends with the API server, or with this process.
        threading.Thread(target=take_in, daemon=True).start()

    def change(self, title: str, numbers: range, hands: int, target: float | None = None) -> None:
        """Edits Exports, each once, by so many hands; how long after each edit its status tells of it."""
        seen = self.seen
        is_suspended = {it["metadata"]["name"]: it["spec"].get("suspend", False) for it in self.exports()}
        self.cluster.audit.news()

        def edit(number: int) -> float:
            asked = time.perf_counter()
            name = f"export-{number}"
            # Each second one stands still or goes on; the others move.
            suspend = {"suspend": not is_suspended[name]}
            spec = suspend if number % 2 else {"schedule": {"cron": fleet.cron(number + int(time.time()) % 997 + 1)}}
            answer = self.cluster.api.merge(f"{fleet.RESOURCES}/exports/{name}", {"spec": spec})
            answered = time.perf_counter()
            key = (name, answer["metadata"]["generation"])
            if hands == 1:
                api.until(f"the status of {name}", lambda: key in seen, pause=0.001)
            edited.append((key, answered))
            return answered - asked

        edited: list[tuple[tuple[str, int], float]] = []
        begin = time.perf_counter()
        own = api.all_of(edit, numbers, hands)
        api.until("every status", lambda: all(key in seen for key, _ in edited))
        passed = max(seen[key] for key, _ in edited) - begin
        waits = sorted(max(0.0, seen[key] - answered) for key, answered in edited)
        p99 = waits[min(len(waits) - 1, len(waits) * 99 // 100)]
        print(f"{title}: {len(waits)} in {passed:.2f} s", flush=True)
        self.tell("  the API server's answer to an edit, p50", statistics.median(own) * 1000, "ms")
        self.tell("  from there to the status, p50", statistics.median(waits) * 1000, "ms")
        self.tell("  p99", p99 * 1000, "ms", target)
        self.tell("  at the most", waits[-1] * 1000, "ms")
        writes, _ = self.settle()
        writes.pop(LEASE, None)
        self.tell("  writes a change", writes.total() / len(waits), "", 1)
        print(f"    {told(writes)}", flush=True)

    def change_source(self) -> None:
        """Edits a DataSource that a quarter of the Exports read: nothing changes for them."""
        self.cluster.audit.news()
        before = processor_seconds(self.pid)
        self.cluster.api.merge(f"{fleet.RESOURCES}/datasources/shop0", {"spec": {"description": f"The shop, {time.time()}."}})
        writes, _ = self.settle()
        writes.pop(LEASE, None)
        self.tell("a DataSource of 250 Exports is described anew: writes", writes.total(), "")
        print(f"    {told(writes)}; {processor_seconds(self.pid) - before:.2f} s of a core", flush=True)

    def gateway(self) -> None:
        port = peers.free_port()
        begin = time.perf_counter()
        with self.process("gateway", GATEWAY, "--listen", f"127.0.0.1:{port}") as (process, address):
            api.until("the gateway is ready", lambda: is_ready(address), pause=0.01)
            self.tell("gateway: start until ready", time.perf_counter() - begin, "s")
            time.sleep(QUIET_SECONDS)
            found = memory(process.pid)
            self.tell("  resident", found["VmRSS"], "MiB")
            self.tell("  resident at the most", found["VmHWM"], "MiB")

    def measure(self) -> None:
        self.first_look()
        self.cluster.audit.news()
        with self.operator() as (process, address):
            self.pid = process.pid
            self.start_again(process, address)
            self.idle(process, address)
            self.follow()
            self.change("changes one by one", range(CHANGES), 1, 1000)
            self.change("changes at once", range(300, 320), 20, 1000)
            # What the API server can take in at once, not the operator, says how long this lasts.
            self.change("a burst of changes", range(400, 400 + CHANGES), 20)
            self.change_source()
            self.tell("resident at the end", memory(process.pid)["VmRSS"], "MiB", 150)
            self.tell("  at the most", memory(process.pid)["VmHWM"], "MiB")
        self.gateway()


def told(writes: collections.Counter) -> str:
    return ", ".join(f"{count} {what}" for what, count in writes.most_common()) or "none"


def is_settled(export: dict) -> bool:
    status = export["status"]
    ready = any(it["type"] == "Ready" and it["status"] == "True" for it in status.get("conditions", []))
    return ready and status["observedGeneration"] == export["metadata"]["generation"]


def scrape(address: str) -> str:
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        return answer.read().decode()


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=10):
            return True
    except OSError:
        return False


def main(binary: str) -> int:
    with api.cluster() as cluster, fleet.stores(binary) as (postgres, bucket):
        bench = Bench(binary, cluster)
        begin = time.perf_counter()
        fleet.populate(cluster, postgres, bucket)
        fleet.add_cron_jobs(cluster.api)
        cluster.start_controllers()
        print(f"{fleet.EXPORTS} Exports with {fleet.RUNS_EACH} runs each, and as many CronJobs with Jobs, made in "
              f"{time.perf_counter() - begin:.0f} s", flush=True)
        bench.measure()
    if bench.missed:
        print("missed:", *bench.missed, sep="\n  ")
    return len(bench.missed)


sys.exit(min(1, main(sys.argv[1])))
