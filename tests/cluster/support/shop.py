"""A namespace of its own with all that Lakegate needs there: accounts and rights of the chart, Secrets, a database with
orders, and a lake."""

import contextlib
import datetime
import json
import secrets

import yaml

from .common import REPOSITORY, eventually, run, tool
from .lake import LakeTable
from .operators import Gateway, Operator
from .proxy import ApiProxy

API_VERSION = "lakegate.dev/v1alpha1"
ROWS = 20_000
# A key of Postgres' advisory locks: who holds it keeps every export of `gated_orders` half-way.
GATE = 7

SCHEMA = f"""
create table orders (id bigint primary key, status text, total numeric(12,2), created_at timestamptz);
insert into orders
  select n, case when n % 10 = 0 then 'draft' else 'paid' end, n * 1.25, timestamptz '2026-01-01' + n * interval '1 minute'
  from generate_series(1, {ROWS}) n;
-- Rows come until half of them are read; the rest waits for the gate to open.
create function gate(id bigint) returns boolean language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared({GATE});
  return true;
end $$;
create view gated_orders as
  select id, total, created_at from orders where case when id = {ROWS // 2} then gate(id) else true end;
"""


class Shop:
    LEASE = "lakegate-operator"

    def __init__(self, cluster, postgres, s3, directory, name):
        self.cluster, self.postgres, self.s3, self.directory, self.namespace = cluster, postgres, s3, directory, name
        self.reader = self.database = name.replace("-", "_")
        self.password = f"canary-shop-{secrets.token_hex(8)}"
        self._processes = contextlib.ExitStack()
        self._make_database()
        self._make_namespace()

    def _make_database(self):
        self.postgres.execute("postgres", f"create database {self.database}")
        self.postgres.execute("postgres", f"create role {self.reader} login password '{self.password}'")
        self.sql(SCHEMA)
        self.sql(f"grant select on all tables in schema public to {self.reader}")

    def _make_namespace(self):
        self.cluster.kubectl("create", "namespace", self.namespace)
        rights = run(tool("bin/helm", "tests/charts/prepare.sh"), "template", "lakegate", REPOSITORY / "charts/lakegate",
                     "--namespace", self.namespace, "--kube-version", "1.34.0", "--show-only", "templates/rbac.yaml", "--show-only",
                     "templates/accounts.yaml")
        self.cluster.kubectl("apply", "-f", "-", namespace=self.namespace, stdin=rights.stdout)
        self.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"},
             "stringData": {"username": self.reader, "password": self.password}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lake-s3"},
             "stringData": {"accessKeyId": self.s3.KEY, "secretAccessKey": self.s3.secret}},
            resource("DataSource", "shop", {"postgres": {
                "database": self.database, "primary": {"host": "127.0.0.1", "port": self.postgres.port},
                "credentials": {"secretRef": {"name": "shop-db"}}, "tls": {"mode": "Disable"}}}),
            resource("DataSource", "lake", {"lake": {"s3": {
                "bucket": "lake", "prefix": self.namespace, "region": "us-east-1", "endpoint": self.s3.endpoint,
                "pathStyle": True, "credentials": {"secretRef": {"name": "lake-s3"}}}}}),
        )

    def remove(self):
        self._processes.close()
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.postgres.execute("postgres", f"drop database {self.database} with (force)")
        self.postgres.execute("postgres", f"drop role {self.reader}")

    # -- the store

    def sql(self, text, parameters=None):
        return self.postgres.execute(self.database, text, parameters)

    @contextlib.contextmanager
    def closed_gate(self):
        """While this lasts, exports of `gated_orders` come half-way."""
        connection = self.postgres.connect(self.database)
        try:
            connection.cursor().execute(f"select pg_advisory_lock({GATE})")
            yield connection.close
        finally:
            connection.close()

    def waits_at_the_gate(self):
        """How many exports have come half-way."""
        return self.sql("select count(*) from pg_locks where locktype = 'advisory' and not granted"
                        " and database = (select oid from pg_database where datname = current_database())")[0][0]

    def source_rows(self, where="true"):
        return sorted(self.sql(f"select id, total, created_at from orders where {where}"))

    # -- resources

    def apply(self, *objects):
        self.cluster.apply(*objects, namespace=self.namespace)

    def patch(self, kind, name, patch):
        self.cluster.patch(kind, name, patch, self.namespace)

    def get(self, kind, *selector):
        return self.cluster.get(kind, self.namespace, *selector)

    def export(self, name, table="orders", **spec):
        """An Export of three columns to the lake's table of its own name."""
        memory = spec.pop("memory", "256Mi")
        fields = {
            "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": table}},
            "columns": [{"name": "id"}, {"name": "total"}, {"name": "created_at"}],
            "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": name},
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": memory}},
            "retry": {"limit": 3, "backoff": "1s"},
        } | spec
        self.apply(resource("Export", name, {field: value for field, value in fields.items() if value is not None}))

    def run_now(self, export):
        """Asks for a run by annotation, as a person would."""
        stamp = datetime.datetime.now(datetime.UTC).isoformat()
        self.cluster.kubectl("annotate", "--overwrite", f"export/{export}", f"lakegate.dev/requestedAt={stamp}",
                             namespace=self.namespace)

    def runs(self, export=None):
        """ExportRuns, oldest first."""
        found = [run for run in self.get("exportruns") if export in (None, run["spec"]["exportRef"]["name"])]
        return sorted(found, key=lambda run: (run["metadata"]["creationTimestamp"], run["metadata"]["name"]))

    def states(self, export=None):
        return [run.get("status", {}).get("state", "") for run in self.runs(export)]

    def ended(self, export, count=1, within=180):
        """The runs of an Export, once there are so many and all have ended."""
        def all_ended():
            runs = self.runs(export)
            states = [run.get("status", {}).get("state") for run in runs]
            return runs if len(runs) >= count and all(state in ("Complete", "Failed") for state in states) else None

        return eventually(f"{count} runs of {export} ended", all_ended, within)

    def table(self, export):
        return LakeTable(self.s3, f"{self.namespace}/shop/{export}")

    def jobs(self, export=None):
        return self.get("jobs", *(["-l", f"lakegate.dev/export={export}"] if export else []))

    def unfinished_jobs(self, export):
        return [job["metadata"]["name"] for job in self.jobs(export)
                if not any(condition["status"] == "True" and condition["type"] in ("Complete", "Failed")
                           for condition in job.get("status", {}).get("conditions", []))]

    # -- Lakegate's processes

    def proxy(self):
        """A way of its own to the API server."""
        proxy = ApiProxy(self.cluster)
        self._processes.callback(proxy.close)
        return proxy

    def operator(self, api, name="operator-1", **options):
        """An operator of this namespace, as a process of this machine."""
        operator = Operator(self, api, name, **options)
        self._processes.callback(operator.kill)
        return operator

    def gateway(self, api):
        gateway = Gateway(self, api)
        self._processes.callback(gateway.kill)
        return gateway

    def free_the_lease(self):
        """What waiting for a dead holder's Lease would come to, at once."""
        self.cluster.kubectl("delete", "lease", self.LEASE, "--ignore-not-found", namespace=self.namespace)

    def everything(self):
        """All that people can read here: resources, Jobs, Pods, Events, and the logs of Pods."""
        kinds = "datasources,exports,exportruns,views,jobs,pods,events,leases,configmaps"
        text = self.cluster.kubectl("get", kinds, "-o", "yaml", namespace=self.namespace).stdout
        for pod in self.get("pods"):
            text += self.cluster.kubectl("logs", pod["metadata"]["name"], namespace=self.namespace, check=False).stdout
        return text


def resource(kind, name, spec):
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def condition(found, kind):
    """One condition of an object: its status and reason."""
    for entry in found.get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return entry["status"], entry["reason"]
    return None


def assert_published_once(shop, export, run, rows=None):
    """The strong property of most of these tests: one run, one commit, one end, and the rows of the source."""
    runs = shop.runs(export)
    assert [found["metadata"]["name"] for found in runs] == [run["metadata"]["name"]], "another run was made"
    status = runs[0]["status"]
    assert status["state"] == "Complete", json.dumps(status, indent=1)
    ends = [entry["type"] for entry in status["conditions"] if entry["type"] in ("Complete", "Failed") and entry["status"] == "True"]
    assert ends == ["Complete"], yaml.safe_dump(status)
    table = shop.table(export)
    assert table.commits() == [run["metadata"]["uid"]], "not exactly one commit"
    source = shop.source_rows() if rows is None else rows
    assert table.rows() == source, "the lake differs from the source"
    assert status["rowsWritten"] == len(source)
    assert status["snapshotId"] == str(table.metadata()["current-snapshot-id"])
    eventually(f"{export} tells of its run", lambda: is_told(shop, export, runs[0]), within=20)
    eventually("no Job is left at work", lambda: not shop.unfinished_jobs(export), within=20)


def is_told(shop, export, run):
    status = shop.get("export", export).get("status", {})
    return (status.get("lastRun", {}).get("name") == run["metadata"]["name"]
            and status["lastRun"]["outcome"] == "Succeeded" and "activeRun" not in status
            and condition({"status": status}, "LastRunSucceeded") == ("True", "Succeeded"))
