"""The operator's clock is set, forwards and back, by hours, while the clocks of the nodes and the monotonic one go on."""

import datetime
import glob
import time

import pytest

from support.common import eventually, never
from support.shop import assert_published_once

HOUR = 3600


class Clock:
    """What a process takes for the time, by libfaketime."""

    def __init__(self, directory):
        [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        self._file = directory / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            # A clock that is set does not move the one that measures durations.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset):
        """That many seconds from the true time."""
        following = self._file.with_suffix(".new")
        following.write_text(f"{offset:+d}\n")
        following.rename(self._file)
        self.offset = offset

    def now(self):
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.offset)


def to_next_hour(seconds_before):
    """The offset that shows so many seconds before a full hour."""
    now = time.time()
    return int((now // HOUR + 1) * HOUR - seconds_before - now)


def test_no_slot_runs_twice_when_the_clock_jumps(shop, api):
    clock = Clock(shop.directory)
    clock.set(to_next_hour(120))
    shop.operator(api, environment=clock.environment).leads()
    shop.export("hourly", schedule={"cron": "0 * * * *"})
    eventually("the next slot is promised", lambda: slots(shop) and True)
    first = slots(shop)[1]
    # Over the slot.
    clock.set(clock.offset + 125)
    look(shop)
    [run] = shop.ended("hourly")
    assert run["spec"]["scheduledTime"] == first
    # Back by hours, and over the same slot again: it has been served.
    clock.set(clock.offset - 4 * HOUR)
    look(shop)
    never("a slot of the past runs", lambda: len(shop.runs("hourly")) > 1, during=4)
    clock.set(clock.offset + 4 * HOUR)
    look(shop)
    never("a slot runs twice", lambda: len(shop.runs("hourly")) > 1, during=4)
    # Forwards by hours: the newest slot runs, once, and the others are counted.
    clock.set(clock.offset + 5 * HOUR)
    look(shop)
    runs = shop.ended("hourly", 2)
    never("more than the newest slot runs", lambda: len(shop.runs("hourly")) > 2, during=4)
    assert after(first, 5) == runs[1]["spec"]["scheduledTime"]
    assert shop.get("export", "hourly")["status"]["missedRuns"] == 4
    # And back to the truth.
    clock.set(0)
    look(shop)
    never("a slot runs twice", lambda: len(shop.runs("hourly")) > 2, during=25)
    assert [run["status"]["state"] for run in shop.runs("hourly")] == ["Complete", "Complete"]
    assert shop.table("hourly").commits() == [run["metadata"]["uid"] for run in shop.runs("hourly")]


@pytest.mark.parametrize("jump", [4 * HOUR, -4 * HOUR], ids=["forwards", "back"])
def test_a_run_at_work_outlives_a_jump(shop, api, jump):
    clock = Clock(shop.directory)
    operator = shop.operator(api, environment=clock.environment).leads()
    with shop.closed_gate() as open_gate:
        shop.export("gated", "gated_orders", schedule={"cron": "0 3 1 1 *", "runOnCreate": True}, timeout="10m")
        eventually("the export is half-way", shop.waits_at_the_gate)
        eventually("its status says so", lambda: shop.states() == ["Running"])
        clock.set(jump)
        eventually("the operator has seen the jump", lambda: "the clock was set" in operator.log(), within=40)
        # What begins by the wrong clock.
        shop.export("orders", schedule={"cron": "0 3 1 1 *", "runOnCreate": True}, timeout="10m")
        eventually("it has begun", lambda: shop.jobs("orders"))
        never("its worker is ended", lambda: shop.states("gated") != ["Running"] or len(shop.jobs("gated")) > 1, during=10)
        clock.set(0)
        [run] = shop.ended("orders")
        assert_published_once(shop, "orders", run)
        open_gate()
    [run] = shop.ended("gated")
    assert_published_once(shop, "gated", run)
    assert run["status"]["attempts"] == 1
    assert run["status"]["duration"].count("h") == 0, run["status"]["duration"]
    assert operator.decides(), "the Lease was lost, although its clock went on"


def look(shop):
    """Has the operator look at the Export at once, where a timer would do so within 20 seconds."""
    shop.patch("export", "hourly", {"metadata": {"labels": {"looked": str(time.monotonic_ns())}}})


def slots(shop):
    """The newest slot that was served and the next one."""
    status = shop.get("export", "hourly").get("status", {})
    following = status.get("nextScheduleTime")
    return (status.get("lastScheduleTime"), following) if following else None


def after(slot, hours):
    moved = datetime.datetime.fromisoformat(slot) + datetime.timedelta(hours=hours)
    return moved.strftime("%Y-%m-%dT%H:%M:%SZ")

