"""Lakegate's processes of a cluster, run on this machine, so that a test can stop, kill and deceive each."""

import os
import secrets
import signal
import subprocess
import urllib.request

import psycopg2

from .cluster import IMAGE, kubeconfig
from .common import eventually, free_port, lakegate_binary, run


class Process:
    """One life of one of Lakegate's processes, with the account and rights that the chart gives it."""

    def __init__(self, shop, api, name, account, arguments, environment=()):
        self.shop, self.name = shop, name
        self.directory = shop.directory / name
        self.directory.mkdir(parents=True)
        config = self.directory / "kubeconfig"
        server, authority = (api.server, api.authority) if hasattr(api, "server") else (api.url, None)
        config.write_text(kubeconfig(server, shop.cluster.token(account, shop.namespace), authority))
        self.http = f"127.0.0.1:{free_port()}"
        self.log_file = self.directory / "log"
        # It ends with the tests, however they end.
        command = ["setpriv", "--pdeathsig", "KILL", str(lakegate_binary()), *arguments, "--namespace", shop.namespace, "--http", self.http,
                   "--state-dir", str(self.directory / "state")]
        variables = {
            "PATH": os.environ["PATH"], "KUBECONFIG": str(config), "POD_NAME": name, "POD_NAMESPACE": shop.namespace,
            "NO_COLOR": "1",
        } | dict(environment)
        self._log = open(self.log_file, "wb")
        self.process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=self._log,
                                        stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    @property
    def is_alive(self):
        return self.process.poll() is None

    def log(self):
        return self.log_file.read_text(errors="replace")

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def answers(self, page):
        try:
            with urllib.request.urlopen(f"http://{self.http}/{page}", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ready(self, within=90):
        def is_ready():
            if not self.is_alive:
                raise RuntimeError(f"{self.name} ended:\n{self.log()[-2000:]}")
            return self.answers("readyz")

        eventually(f"{self.name} is ready", is_ready, within)
        return self

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def kill(self):
        """kill -9, and waits until it is gone."""
        if self.is_alive:
            self.process.kill()
        self.process.wait()
        self._log.close()


class Operator(Process):
    def __init__(self, shop, api, name, environment=()):
        super().__init__(shop, api, name, "lakegate-operator", [
            "operator", "--worker-image", IMAGE, "--worker-pull-policy", "Never", "--worker-host-network",
            "--lease-name", shop.LEASE], environment)

    def decides(self):
        return "lakegate_operator_leader 1" in self.metrics()

    def leads(self, within=90):
        """Waits until it holds the Lease."""
        self.ready(within)
        eventually(f"{self.name} decides", self.decides, within)
        return self


class Gateway(Process):
    USER = "analyst"

    def __init__(self, shop, api):
        self.password = f"canary-user-{secrets.token_hex(8)}"
        users = shop.directory / "users"
        users.write_text(run(lakegate_binary(), "user", "add", self.USER, input=self.password).stdout)
        self.port = free_port()
        super().__init__(shop, api, "gateway", "lakegate-gateway",
                         ["gateway", "--listen", f"127.0.0.1:{self.port}", "--users", str(users)])

    def ask(self, sql):
        """Rows, over a connection of its own."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=self.USER, password=self.password,
                                      dbname="lakegate", connect_timeout=10)
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchall()
        finally:
            connection.close()
