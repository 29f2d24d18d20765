"""One cluster, one Postgres and one S3 server for all tests; a namespace, a database and a lake for each.

LAKEGATE_TEST_CLUSTER names a directory whose cluster is used, and started if it does not run; it then stays for the next
time, until down.sh ends it.
"""

import os
import pathlib
import re
import shutil
import tempfile

import pytest

from support.cluster import Cluster
from support.services import S3, Postgres
from support.shop import Shop


@pytest.fixture(scope="session")
def work():
    if os.getuid():
        pytest.exit("a node runs containers, which needs root", returncode=2)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="lakegate-faults-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(work):
    server = Postgres(work)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3():
    server = S3()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cluster(work):
    kept = os.environ.get("LAKEGATE_TEST_CLUSTER")
    cluster = Cluster(kept or work / "cluster", is_kept=bool(kept))
    try:
        cluster.import_image(work)
        cluster.apply(*cluster.definitions())
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def shop(cluster, postgres, s3, work, request):
    """A namespace with a store and a lake, named after the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).removeprefix("test-")[:40].strip("-")
    name = f"{name}-{os.urandom(2).hex()}"
    directory = work / name
    directory.mkdir()
    shop = Shop(cluster, postgres, s3, directory, name)
    yield shop
    if request.node.stash.get(FAILED, False):
        tell(shop)
    shop.remove()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def api(shop):
    """A proxy before the API server."""
    return shop.proxy()


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report


def tell(shop):
    """What there is to know after a failure."""
    for kinds in ("exports,exportruns,datasources,jobs,pods,leases", "events"):
        print(shop.cluster.kubectl("get", kinds, "-o", "wide", namespace=shop.namespace, check=False).stdout)
    print(shop.cluster.kubectl("get", "exportruns", "-o", "yaml", namespace=shop.namespace, check=False).stdout)
    for log in sorted(shop.directory.glob("*/log")):
        print(f"-- {log.parent.name}\n{log.read_text(errors='replace')[-6000:]}")
