"""The operator is killed at the worst moments, and another one begins."""

import os
import re
import signal
import threading
import time

import pytest

from support.common import eventually
from support.proxy import Refused
from support.shop import assert_published_once, is_told


class Killer:
    """Kills a process as soon as the API server has done a write that has killed none before, and before the process
    learns of it. Writes that differ in times and ids alone are the same."""

    VARIES = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|\d[\d.:TZ-]*")

    def __init__(self):
        self.effects = {}
        self._lock = threading.Lock()
        self._victim = None
        self._is_aimed = threading.Event()

    def aim(self, process):
        self._victim = process
        self._is_aimed.set()

    def has_killed_at(self, resource):
        with self._lock:
            return any(effect[1] == resource for effect in self.effects)

    def before(self, request):
        # What it had sent and the API server had not read when it died.
        if is_effect(request) and not self._is_aimed.is_set():
            raise Refused

    def after(self, request):
        if not is_effect(request):
            return
        effect = (request.verb, request.resource, request.name, self.VARIES.sub(b"#", request.body))
        with self._lock:
            if effect not in self.effects:
                self.effects[effect] = self._victim.name
                os.kill(self._victim.pid, signal.SIGKILL)
                self._is_aimed.clear()
                raise Refused


def is_effect(request):
    return request.is_write and request.resource != "leases"


@pytest.mark.essential
def test_operator_killed_after_each_effect(shop, api):
    shop.export("orders", "gated_orders")
    shop.run_now("orders")
    killer = Killer()
    api.in_turn, api.before, api.after = True, killer.before, killer.after
    lives, is_half_way = 0, True
    with shop.closed_gate() as open_gate:
        while True:
            lives += 1
            operator = shop.operator(api, f"operator-{lives}")
            killer.aim(operator)
            # Operators come and go while the worker is half-way; then it ends, and they come and go while that is told.
            if is_half_way and killer.has_killed_at("exportruns/status") and decides(operator):
                eventually("the export is half-way", shop.waits_at_the_gate)
                open_gate()
                is_half_way = False
            if lives_in_peace(operator, shop):
                break
            assert lives == len(killer.effects), operator.log()
            assert lives < 40, "it does not come to an end"
            operator.kill()
            shop.free_the_lease()
    killed_at = {f"{verb} {what}" for verb, what, *_ in killer.effects}
    assert {"create exportruns", "create jobs", "patch exportruns/status", "patch exports/status",
            "patch datasources/status"} <= killed_at
    assert_published_once(shop, "orders", shop.runs("orders")[0])
    [job] = shop.jobs()
    assert job["metadata"]["name"].endswith("-1"), "an attempt was lost, although no worker was"


def decides(operator):
    """Waits until it does, or is dead."""
    eventually("an operator decides or dies", lambda: not operator.is_alive or (operator.answers("readyz") and operator.decides()))
    return operator.is_alive


def lives_in_peace(operator, shop):
    """False when it is killed; true when it has nothing to do any more, and has done nothing for a while."""
    quiet_since = None
    while operator.is_alive:
        runs = shop.runs("orders")
        is_over = len(runs) == 1 and runs[0].get("status", {}).get("state") == "Complete" and is_told(shop, "orders", runs[0])
        if not (is_over and operator.answers("readyz") and operator.decides()):
            quiet_since = None
        elif quiet_since is None:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > 4:
            return True
        time.sleep(0.2)
    return False
