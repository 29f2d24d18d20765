"""Passwords change while everything runs."""

import base64
import secrets

import psycopg2
import pytest

from support.common import eventually
from support.shop import condition

ON_CREATE = {"cron": "0 3 1 1 *", "runOnCreate": True}


@pytest.mark.essential
def test_secret_rotated(shop, cluster):
    api = shop.proxy()
    operator = shop.operator(api).leads()
    gateway = shop.gateway(cluster).ready()
    shop.export("orders", schedule=ON_CREATE)
    shop.ended("orders")
    in_store = "select count(*) from shop.public.orders where id > {}"
    rows = len(shop.source_rows())
    eventually("the gateway reads the store", lambda: ask(gateway, in_store.format(0)) == [(rows,)])

    old, new = shop.password, f"canary-new-{secrets.token_hex(8)}"
    shop.sql(f"alter role {shop.reader} password '{new}'")
    # Whoever is connected stays so. Nobody is: what comes next has to log in again.
    shop.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (shop.reader,))
    shop.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"},
                "stringData": {"username": shop.reader, "password": new}})
    eventually("the gateway reads the store by the new password",
               lambda: ask(gateway, in_store.format(1)) == [(rows - 1,)], within=20)
    shop.run_now("orders")
    runs = shop.ended("orders", 2)
    assert [run["status"]["state"] for run in runs] == ["Complete", "Complete"], runs[-1]["status"]
    assert runs[-1]["status"]["attempts"] == 1
    assert operator.is_alive and gateway.is_alive

    # And one that was never the password: it is said so, and mended without a touch here.
    wrong = f"canary-wrong-{secrets.token_hex(8)}"
    shop.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"},
                "stringData": {"username": shop.reader, "password": wrong}})
    shop.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (shop.reader,))
    shop.run_now("orders")
    failed = shop.ended("orders", 3)[-1]["status"]
    assert failed["state"] == "Failed" and failed["failure"]["reason"] == "AccessDenied", failed
    shop.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"},
                "stringData": {"username": shop.reader, "password": new}})
    shop.run_now("orders")
    assert shop.ended("orders", 4)[-1]["status"]["state"] == "Complete"
    eventually("the store is well again", lambda: condition(shop.get("datasource", "shop"), "Ready") == ("True", "Available"), 90)

    said = shop.everything() + operator.log() + gateway.log()
    said += operator.metrics() + gateway.metrics()
    for secret in (old, new, wrong, shop.s3.secret, gateway.password):
        assert secret not in said, "a secret is readable"
        assert base64.b64encode(secret.encode()).decode() not in said, "a secret is readable in another form"


def ask(gateway, sql):
    try:
        return gateway.ask(sql)
    except psycopg2.Error as error:
        raise AssertionError(str(error)) from error
