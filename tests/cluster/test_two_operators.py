"""Several operators: one decides, and when it cannot any more another does, at no time two."""

import time

from support.common import eventually
from support.shop import assert_published_once, resource

# How long a Lease is promised, and how often it is looked at.
LEASE, LOOK = 15, 2.4


def test_leader_killed_mid_run(shop):
    proxies = [shop.proxy(), shop.proxy()]
    first = shop.operator(proxies[0], "operator-1").leads()
    second = shop.operator(proxies[1], "operator-2").ready()
    with shop.closed_gate() as open_gate:
        shop.export("gated", "gated_orders", schedule={"cron": "0 3 1 1 *", "runOnCreate": True})
        eventually("the export is half-way", shop.waits_at_the_gate)
        eventually("its status says so", lambda: shop.states() == ["Running"])
        assert not proxies[1].writes(), "the one that only waits has written"
        first.kill()
        died = time.monotonic()
        eventually("the other decides", second.decides, LEASE + 2 * LOOK + 3, every=0.1)
        took = time.monotonic() - died
        assert took > LEASE - 2 * LOOK, f"it did not wait for the Lease to run out: {took:.1f} s"
        open_gate()
    [run] = shop.ended("gated")
    assert_published_once(shop, "gated", run)
    [job] = shop.jobs()
    assert run["status"]["attempts"] == 1 and job["metadata"]["name"].endswith("-1"), "the attempt was not adopted"


def test_leader_paused_longer_than_its_lease(shop):
    """As a virtual machine is: it wakes up in the belief that it decides."""
    proxies = [shop.proxy(), shop.proxy()]
    first = shop.operator(proxies[0], "operator-1").leads()
    second = shop.operator(proxies[1], "operator-2").ready()
    with shop.closed_gate() as open_gate:
        shop.export("gated", "gated_orders", schedule={"cron": "0 3 1 1 *", "runOnCreate": True})
        eventually("the export is half-way", shop.waits_at_the_gate)
        eventually("its status says so", lambda: shop.states() == ["Running"])
        first.pause()
        paused = time.monotonic()
        eventually("the other decides", second.decides, LEASE + 2 * LOOK + 3)
        # Work for whoever decides: the paused one wakes up into all of it.
        for number in range(5):
            shop.export(f"more{number}", schedule={"cron": "0 3 1 1 *", "runOnCreate": True})
        for number in range(5):
            shop.ended(f"more{number}")
        shop.apply(*(resource("View", f"view{number}", {"sql": "select 1 as n"}) for number in range(50)))
        open_gate()
        shop.ended("gated")
        shop.patch("export", "more0", {"spec": {"suspend": True}})
        first.resume()
    woke = time.monotonic()
    eventually("the one that was paused begins anew", lambda: not first.is_alive, 15)
    assert first.process.returncode == 1, first.log()
    # What it had sent before it was stopped may have been answered after; the Lease was its own for seconds yet.
    assert not proxies[0].writes(since=paused + 2), f"it wrote after it had lost the Lease at {woke - paused:.0f} s"
    for export in ["gated", *(f"more{number}" for number in range(5))]:
        [run] = shop.runs(export)
        assert shop.table(export).commits() == [run["metadata"]["uid"]]
        assert run["status"]["attempts"] == 1
    assert len(shop.jobs()) == 6, "an attempt has two Jobs"
