"""A fleet: Exports with the runs of five days behind them, as an operator leaves them, and what they read and write.

Beside it, as a peer, what Kubernetes itself has for work on a schedule: CronJobs with Jobs that have ended."""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import psycopg2
import yaml

import api
import peers

NAMESPACE = "bench"
EXPORTS = 1_000
RUNS_EACH = 5
SHOPS = 4
COLUMNS = 20
VIEWS = 10

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
# Half a year away, so that nothing is due while it is measured.
FAR_MONTH = (NOW.month + 5) % 12 + 1

RESOURCES = f"{api.GROUP}/namespaces/{NAMESPACE}"
CRON_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


def stamp(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def cron(number: int) -> str:
    return f"{number % 60} {number // 60 % 24} 1 {FAR_MONTH} *"


def shop_of(number: int) -> str:
    return f"shop{number % SHOPS}"


def table_of(number: int) -> str:
    return f"orders_{number // SHOPS}"


@contextlib.contextmanager
def stores(binary: str) -> Iterator[tuple[int, int]]:
    """The ports of a PostgreSQL with every table that is exported, and of an S3 server with the lake tables."""
    keys = os.environ | {"ROOT_ACCESS_KEY_ID": "bench", "ROOT_SECRET_ACCESS_KEY": "bench-secret"}
    with peers.empty_postgres() as postgres, subprocess.Popen(
        ["bash", "tests/services/versitygw.sh", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=keys
    ) as bucket:
        # Its end ends the server: leaving this block closes it.
        port, directory = bucket.stdout.readline().split()
        lake = pathlib.Path(directory) / "lake"
        lake.mkdir()
        fill(postgres)
        fill_lake(binary, postgres, int(port), lake / "prod")
        yield postgres, int(port)


def fill(port: int) -> None:
    columns = ", ".join(f"column_{number} text" for number in range(COLUMNS - 4))
    for shop in range(SHOPS):
        with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as server:
            server.autocommit = True
            server.cursor().execute(f"create database shop{shop}")
        with psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname=f"shop{shop}") as database:
            for number in range(shop, EXPORTS, SHOPS):
                database.cursor().execute(
                    f"create table {table_of(number)} (id bigint primary key, total numeric(18,2), email text,"
                    f" created_at timestamptz, {columns})")
        database.close()


def fill_lake(binary: str, postgres: int, bucket: int, lake: pathlib.Path) -> None:
    """Exports one table as it is done, and copies what came of it for the others."""
    first = export(0)
    first["spec"]["schedule"]["runOnCreate"] = True
    manifests = [secret | {"apiVersion": "v1", "kind": "Secret"} for secret in secrets()]
    manifests += [*sources(postgres, bucket), first]
    with tempfile.TemporaryDirectory() as folder:
        manifest = pathlib.Path(folder) / "manifests" / "all.yaml"
        manifest.parent.mkdir()
        manifest.write_text(yaml.safe_dump_all(manifests))
        listen = [f"--{name}=127.0.0.1:{peers.free_port()}" for name in ("listen", "http")]
        with subprocess.Popen(
            [binary, "serve", manifest.parent, "--state-dir", f"{folder}/state", *listen],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as serve:
            table = lake / shop_of(0) / table_of(0)
            try:
                api.until("the first export", lambda: any((table / "_runs").glob("*.json")))
            finally:
                serve.terminate()
    for number in range(1, EXPORTS):
        copy = lake / shop_of(number) / table_of(number)
        shutil.copytree(table, copy)
        for metadata in (copy / "metadata").glob("*.metadata.json"):
            here = f"/{shop_of(number)}/{table_of(number)}"
            metadata.write_text(metadata.read_text().replace(f"/{shop_of(0)}/{table_of(0)}", here))


def resource(kind: str, name: str, spec: dict, **metadata: object) -> dict:
    return {
        "apiVersion": "lakegate.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE} | metadata, "spec": spec,
    }


def sources(postgres: int, bucket: int) -> list[dict]:
    shops = [
        resource("DataSource", f"shop{shop}", {
            "postgres": {
                "database": f"shop{shop}", "primary": {"host": "127.0.0.1", "port": postgres},
                "credentials": {"secretRef": {"name": "shop"}}, "tls": {"mode": "Disable"},
            },
            # Often enough that every store is looked at again while the fleet idles; the default is ten minutes.
            "discovery": {"interval": "2m"},
        })
        for shop in range(SHOPS)
    ]
    lake = resource("DataSource", "lake", {
        "lake": {
            "s3": {
                "bucket": "lake", "prefix": "prod", "region": "us-east-1", "endpoint": f"http://127.0.0.1:{bucket}",
                "pathStyle": True, "credentials": {"secretRef": {"name": "lake"}},
            }
        },
        "discovery": {"interval": "4m"},
    })
    return [*shops, lake]


def secrets() -> list[dict]:
    return [
        {"metadata": {"name": "shop", "namespace": NAMESPACE}, "stringData": {"username": "postgres", "password": "trusted"}},
        {
            "metadata": {"name": "lake", "namespace": NAMESPACE},
            "stringData": {"accessKeyId": "bench", "secretAccessKey": "bench-secret"},
        },
    ]


def view(number: int) -> dict:
    sql = f"select date_trunc('day', created_at) as day, sum(total) as total from {shop_of(number)}.public.{table_of(number)} group by 1"
    return resource("View", f"daily-{number}", {"sql": sql, "description": f"Turnover by day of {shop_of(number)}."})


def export(number: int) -> dict:
    return resource("Export", f"export-{number}", {
        "from": {"sourceRef": {"name": shop_of(number)}, "table": {"schema": "public", "name": table_of(number)}},
        "columns": [
            {"name": "id"},
            {"name": "total", "as": "total_amount"},
            {"as": "domain", "expression": "split_part(email, '@', 2)"},
            {"name": "created_at"},
            {"as": "order_day", "expression": "date_trunc('day', created_at)"},
            *({"name": f"column_{column}"} for column in range(4)),
        ],
        "where": "total > 0",
        "schedule": {"cron": cron(number), "timeZone": "Asia/Seoul", "startingDeadlineSeconds": 3600},
        "destination": {"lakeRef": {"name": "lake"}, "schema": shop_of(number), "table": table_of(number)},
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
    }, labels={"team": f"team-{number % 20}"})


def run(owner: dict, day: int) -> tuple[dict, dict]:
    """A run of an Export that was made, and the status that it ended with."""
    metadata = owner["metadata"]
    begun = NOW - datetime.timedelta(days=day, seconds=int(metadata["name"].rpartition("-")[2]) % 3600)
    ended = begun + datetime.timedelta(seconds=42)
    fingerprint = hashlib.sha256(f"{metadata['uid']} {begun}".encode()).hexdigest()[:16]
    name = f"{metadata['name']}-{begun:%Y%m%d%H%M}-{fingerprint[:6]}"
    labels = {
        "lakegate.dev/export": metadata["name"], "lakegate.dev/cause": "Schedule", "lakegate.dev/trigger": fingerprint,
        "app.kubernetes.io/managed-by": "lakegate",
    }
    owners = [{
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "name": metadata["name"], "uid": metadata["uid"],
        "controller": True,
    }]
    made = resource("ExportRun", name, {
        "exportRef": {"name": metadata["name"]}, "cause": "Schedule", "scheduledTime": stamp(begun),
        "exportUid": metadata["uid"], "exportGeneration": 1, "resolved": owner["spec"],
    }, labels=labels, ownerReferences=owners)
    message = "120000 rows, 3411968 bytes in 1 file"
    status = {
        "observedGeneration": 1, "state": "Complete", "startTime": stamp(begun), "finishTime": stamp(ended),
        "duration": "42s", "attempts": 1, "attemptId": f"{fingerprint[:8]}-0000-4000-8000-{fingerprint[:12]}",
        "rowsRead": 120_000, "rowsWritten": 120_000, "bytesWritten": 3_411_968, "files": 1,
        "snapshotId": str(int(fingerprint, 16) >> 1),
        "conditions": [{
            "type": "Complete", "status": "True", "reason": "Succeeded", "message": message, "observedGeneration": 1,
            "lastTransitionTime": stamp(ended),
        }],
    }
    return made, status


def populate(cluster: api.Cluster, postgres: int, bucket: int) -> None:
    """Everything but the status of the Exports: that is the operator's first work."""
    server = cluster.api
    server.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for secret in secrets():
        server.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
    for source in sources(postgres, bucket):
        server.create(f"{RESOURCES}/datasources", source)
    for number in range(VIEWS):
        server.create(f"{RESOURCES}/views", view(number))
    api.all_of(lambda number: add_export(server, export(number)), range(EXPORTS))


def add_export(server: api.Api, manifest: dict) -> None:
    made = server.create(f"{RESOURCES}/exports", manifest)
    for day in range(RUNS_EACH, 0, -1):
        body, status = run(made, day)
        name = body["metadata"]["name"]
        created = server.create(f"{RESOURCES}/exportruns?fieldManager=lakegate/create", body)
        told = {
            "apiVersion": body["apiVersion"], "kind": body["kind"],
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": created["metadata"]["uid"]}, "status": status,
        }
        server.apply(f"{RESOURCES}/exportruns/{name}/status", told, "lakegate/status")


def add_cron_jobs(server: api.Api) -> None:
    """As many CronJobs as Exports, with as many Jobs that have ended as runs. No controller may run yet: it would start
    the Jobs that have not ended."""
    api.all_of(lambda number: add_cron_job(server, number), range(EXPORTS))


def add_cron_job(server: api.Api, number: int) -> None:
    name = f"export-{number}"
    containers = [{
        "name": "worker", "image": "example.com/worker:1", "args": ["worker", json.dumps(export(number)["spec"])],
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
    }]
    template = {"spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": containers}}}}
    owner = server.create(CRON_JOBS, {
        "metadata": {"name": name},
        "spec": {
            "schedule": cron(number), "timeZone": "Asia/Seoul", "successfulJobsHistoryLimit": RUNS_EACH,
            "jobTemplate": template,
        },
    })
    for day in range(RUNS_EACH, 0, -1):
        begun = NOW - datetime.timedelta(days=day, seconds=number % 3600)
        job = f"{name}-{int(begun.timestamp()) // 60}"
        owners = [{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": owner["metadata"]["uid"], "controller": True,
        }]
        made = server.create(JOBS, {"metadata": {"name": job, "ownerReferences": owners}, **template})
        created = made["metadata"]["creationTimestamp"]
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": created, "lastProbeTime": created,
             "reason": "CompletionsReached", "message": "Reached expected number of succeeded pods"}
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
        server.merge(f"{JOBS}/{job}/status", {"status": {
            "startTime": created, "completionTime": created, "succeeded": 1, "ready": 0, "terminating": 0,
            "uncountedTerminatedPods": {}, "conditions": conditions,
        }})
