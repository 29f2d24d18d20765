"""The API server and its store at their worst, while an operator works by them."""

import copy
import time

import psycopg2
import pytest

from support.common import eventually
from support.proxy import Refused
from support.shop import assert_published_once, condition, resource

ON_CREATE = {"cron": "0 3 1 1 *", "runOnCreate": True}
REQUEST = {"cron": "0 3 1 1 *"}


def everything_is_known(shop, exports, within=40):
    """Every Export that is there has been looked at as it is now."""
    def known():
        found = shop.get("exports")
        return (sorted(export["metadata"]["name"] for export in found) == sorted(exports)
                and all(export["status"]["observedGeneration"] == export["metadata"]["generation"] for export in found))

    eventually("every Export is looked at", known, within)


@pytest.mark.essential
def test_watches_dropped_lose_no_change(shop, api):
    operator = shop.operator(api).leads()
    with shop.closed_gate() as open_gate:
        shop.export("gated", "gated_orders", schedule=ON_CREATE)
        eventually("the export is half-way", shop.waits_at_the_gate)
        shop.export("kept", schedule=REQUEST)
        shop.export("removed", schedule=REQUEST)
        everything_is_known(shop, ["gated", "kept", "removed"])
        # In the middle of changes, again and again, and once for a while.
        for number in range(4):
            assert api.cut_watches() > 5
            shop.export(f"made{number}", schedule=ON_CREATE)
        api.before = refuse_reads
        api.cut_watches()
        shop.cluster.kubectl("delete", "export", "removed", namespace=shop.namespace)
        shop.patch("export", "kept", {"spec": {"where": "status = 'paid'"}})
        shop.run_now("kept")
        shop.export("made4", schedule=ON_CREATE)
        open_gate()
        time.sleep(3)
        api.before = lambda request: None
    for number in range(5):
        [run] = shop.ended(f"made{number}")
        assert_published_once(shop, f"made{number}", run)
    [run] = shop.ended("kept")
    assert_published_once(shop, "kept", run, rows=shop.source_rows("status = 'paid'"))
    [run] = shop.ended("gated")
    assert_published_once(shop, "gated", run)
    assert run["status"]["attempts"] == 1
    everything_is_known(shop, ["gated", "kept", *(f"made{number}" for number in range(5))])
    assert operator.is_alive and operator.decides()
    # That it was told of the removal shows in what it knows.
    assert 'export="removed"' not in operator.metrics()


def as_its_deployment_would(shop, api, operator):
    """An operator whose Lease ran out while nobody could renew it has ended; then another one is started."""
    back = time.monotonic()
    eventually("its Lease is renewed, or it ends", lambda: not operator.is_alive or any(
        request.status == 200 for request in api.seen("update", "leases", since=back)))
    if operator.is_alive:
        return operator
    assert operator.process.returncode == 1 and "the Lease" in operator.log(), operator.log()
    return shop.operator(api, "operator-2").leads()


def refuse_reads(request):
    if request.verb in ("watch", "list"):
        raise Refused


def test_api_server_killed_mid_run(shop, cluster):
    """The run goes on, and ends, without it; and what it came to is known when the API server is back."""
    api = shop.proxy()
    operator = shop.operator(api).leads()
    with shop.closed_gate() as open_gate:
        shop.export("gated", "gated_orders", schedule=ON_CREATE)
        eventually("the export is half-way", shop.waits_at_the_gate)
        eventually("its status says so", lambda: shop.states() == ["Running"])
        cluster.kill("apiserver")
        # The worker finishes while nobody can be told.
        open_gate()
        eventually("the run has committed", shop.table("gated").versions, every=0.05)
        cluster.start_what_is_down()
    operator = as_its_deployment_would(shop, api, operator)
    [run] = shop.ended("gated")
    assert_published_once(shop, "gated", run)
    assert run["status"]["attempts"] == 1
    shop.export("orders", schedule=ON_CREATE)
    [run] = shop.ended("orders")
    assert_published_once(shop, "orders", run)


def test_versions_compacted_away_lose_no_change(shop, cluster):
    """A watch that asks for a version that etcd has forgotten gets 410, and everything has to be listed anew."""
    api = shop.proxy()
    operator = shop.operator(api).leads()
    with shop.closed_gate() as open_gate:
        shop.export("gated", "gated_orders", schedule=ON_CREATE)
        eventually("the export is half-way", shop.waits_at_the_gate)
        shop.export("removed", schedule=REQUEST)
        shop.export("again", schedule=REQUEST)
        everything_is_known(shop, ["gated", "removed", "again"])
        old = shop.get("export", "again")["metadata"]["uid"]
        api.before = refuse_reads
        api.cut_watches()
        shop.export("made", schedule=ON_CREATE)
        shop.cluster.kubectl("delete", "export", "removed", "again", namespace=shop.namespace)
        # Another of the same name, whose beginning nobody has seen.
        shop.export("again", schedule=ON_CREATE)
        open_gate()
        eventually("the run has committed", shop.table("gated").versions)
        cluster.compact()
        # The API server remembers what etcd has forgotten; another one does not.
        with cluster.another_api_server() as address:
            assert not api.expired
            api.lead_to(address)
            api.before = lambda request: None
            eventually("a watch is told that its version is gone", lambda: api.expired)
            for export in ("gated", "made", "again"):
                [run] = shop.ended(export)
                assert_published_once(shop, export, run)
            assert shop.runs("again")[0]["spec"]["exportUid"] != old
            everything_is_known(shop, ["gated", "made", "again"])
            assert operator.is_alive and operator.decides(), operator.log()
            assert 'export="removed"' not in operator.metrics()
            operator.kill()


def test_definitions_upgraded_under_load(shop, cluster):
    """From definitions of an older release, with a field less and a version more, to those of this one."""
    current = cluster.definitions()
    cluster.apply(*(older(definition) for definition in current))
    try:
        refused = cluster.kubectl("apply", "--server-side", "-f", "-", namespace=shop.namespace, check=False,
                                  stdin="""{"apiVersion": "lakegate.dev/v1alpha1", "kind": "View", "metadata": {"name": "paid"},
                                            "spec": {"sql": "select 1 as n", "tags": ["sales"]}}""")
        assert refused.returncode and "tags" in refused.stderr, "the older definition is not in force"
        api = shop.proxy()
        operator = shop.operator(api).leads()
        gateway = shop.gateway(cluster).ready()
        with shop.closed_gate() as open_gate:
            shop.export("gated", "gated_orders", schedule=ON_CREATE)
            eventually("the export is half-way", shop.waits_at_the_gate)
            eventually("its status says so", lambda: shop.states() == ["Running"])
            cluster.apply(*current)
            shop.export("made", schedule=ON_CREATE)
            shop.apply(resource("View", "paid", {"sql": "select count(*) as n from lake.shop.made", "tags": ["sales"]}))
            [run] = shop.ended("made")
            assert_published_once(shop, "made", run)
            open_gate()
        [run] = shop.ended("gated")
        assert_published_once(shop, "gated", run)
        assert run["status"]["attempts"] == 1
        rows = len(shop.source_rows())
        eventually("the new field is in use", lambda: condition(shop.get("view", "paid"), "Ready") == ("True", "Available"))
        assert shop.get("view", "paid")["spec"]["tags"] == ["sales"]
        eventually("the gateway serves it", lambda: gateway_says(gateway, "select n from views.paid") == [(rows,)])
        assert operator.is_alive and operator.decides() and gateway.is_alive
    finally:
        cluster.apply(*current)
    stored = {definition["metadata"]["name"]: [version["name"] for version in definition["spec"]["versions"]]
              for definition in cluster.get("crd", None) if definition["spec"]["group"] == "lakegate.dev"}
    assert stored and set(map(tuple, stored.values())) == {("v1alpha1",)}, stored


def gateway_says(gateway, sql):
    try:
        return gateway.ask(sql)
    except psycopg2.Error as error:
        raise AssertionError(str(error)) from error


def older(definition):
    """A definition as an older release might have had it."""
    definition = copy.deepcopy(definition)
    [version] = definition["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    if definition["spec"]["names"]["kind"] == "View":
        del properties["spec"]["properties"]["tags"]
    earlier = copy.deepcopy(version) | {"name": "v1alpha0", "storage": False}
    definition["spec"]["versions"].append(earlier)
    return definition
