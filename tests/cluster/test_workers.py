"""What happens to Pods of workers: ended by force, killed on their node, out of memory."""

import os
import signal

import pytest

from support.common import eventually
from support.shop import assert_published_once, condition

ON_CREATE = {"cron": "0 3 1 1 *", "runOnCreate": True}


def half_way(shop):
    """Starts an export that comes half-way, and gives its Pod."""
    shop.export("gated", "gated_orders", schedule=ON_CREATE)
    eventually("the export is half-way", shop.waits_at_the_gate)
    [pod] = shop.get("pods")
    return pod["metadata"]["name"]


def assert_second_attempt_published(shop):
    [run] = shop.ended("gated")
    assert_published_once(shop, "gated", run)
    assert run["status"]["attempts"] == 2
    referred = len(shop.table("gated").data_files())
    assert referred == run["status"]["files"], "files of the attempt that was lost are still there"
    return run


@pytest.mark.essential
def test_pod_deleted_by_force_mid_export(shop, api):
    shop.operator(api).leads()
    with shop.closed_gate() as open_gate:
        pod = half_way(shop)
        shop.cluster.kubectl("delete", "pod", pod, "--force", "--grace-period=0", namespace=shop.namespace)
        eventually("a second attempt is half-way", lambda: len(shop.jobs()) == 2 and shop.waits_at_the_gate())
        open_gate()
    assert_second_attempt_published(shop)


def test_worker_killed_on_its_node(shop, api):
    shop.operator(api).leads()
    with shop.closed_gate() as open_gate:
        pod = half_way(shop)
        process = eventually("its process is known", lambda: shop.cluster.container_process(shop.namespace, pod))
        os.kill(process, signal.SIGKILL)
        eventually("a second attempt is half-way", lambda: len(shop.jobs()) == 2 and shop.waits_at_the_gate())
        [run] = shop.runs("gated")
        assert "signal 9" in run["status"]["failure"]["message"], run["status"]
        open_gate()
    assert_second_attempt_published(shop)


def test_out_of_memory_concerns_one_export(shop, api):
    # Each value and each row is within the limits of one, and several rows are more than 256 MiB hold.
    wide = ", ".join(f"repeat(chr(97 + {number}), 30000000) as text_{number}" for number in range(4))
    shop.sql(f"create view wide as select id, {wide} from generate_series(1, 20) id")
    shop.sql(f"grant select on wide to {shop.reader}")
    shop.operator(api).leads()
    with shop.closed_gate() as open_gate:
        half_way(shop)
        shop.export("wide", "wide", schedule=ON_CREATE, columns=None, allColumns={}, retry={"limit": 1, "backoff": "1s"})
        [failed] = shop.ended("wide")
        # The other one was there all the time.
        assert shop.waits_at_the_gate() and shop.states("gated") == ["Running"]
        open_gate()
    failure = failed["status"]["failure"]
    assert failed["status"]["state"] == "Failed" and failed["status"]["attempts"] == 2
    assert failure["reason"] == "OutOfMemory", failure
    assert "256Mi" in failure["message"] and "raise spec.resources.limits.memory" in failure["message"]
    assert not shop.table("wide").versions(), "something was published"
    [run] = shop.ended("gated")
    assert run["status"]["attempts"] == 1
    assert shop.table("gated").commits() == [run["metadata"]["uid"]]
    eventually("the export tells of it", lambda: condition(shop.get("export", "wide"), "LastRunSucceeded") == ("False", "OutOfMemory"))
    ended = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in shop.get("pods", "-l", "lakegate.dev/export=wide")]
    assert [entry["reason"] for entry in ended] == ["OOMKilled", "OOMKilled"], ended
