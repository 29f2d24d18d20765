"""The services outside the cluster: a Postgres that asks for passwords, and an S3 server whose objects are files."""

import os
import pathlib
import pwd
import secrets
import signal
import subprocess

import psycopg2

from .common import CLUSTER_TESTS, eventually, free_port, run

SERVICES = CLUSTER_TESTS.parent / "services"


class Postgres:
    """A server of its own, on a free port of loopback."""

    def __init__(self, directory):
        self.bin = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.data = directory / "postgres"
        self.port = free_port()
        self.password = f"canary-owner-{secrets.token_hex(8)}"
        user = pwd.getpwnam("postgres")
        self.data.mkdir()
        os.chown(self.data, user.pw_uid, user.pw_gid)
        password_file = directory / "postgres-password"
        password_file.write_text(self.password)
        os.chown(password_file, user.pw_uid, user.pw_gid)
        run(*self._as_postgres("initdb", "-D", self.data, "-U", "postgres", "-A", "scram-sha-256",
                               f"--pwfile={password_file}", "--locale=C.UTF-8"), cwd="/")
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            # The data lives as long as the test.
            "fsync": "off",
            # What a killed client was waiting for is given up.
            "client_connection_check_interval": "200ms",
        }
        options = [part for setting, value in settings.items() for part in ("-c", f"{setting}={value}")]
        with open(directory / "postgres-log", "wb") as log:
            # It ends with this process, however that ends.
            command = self._as_postgres("postgres", "-D", self.data, *options, ends="QUIT")
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                            start_new_session=True)
        eventually("Postgres answers", self._answers)

    def _as_postgres(self, program, *arguments, ends="keep"):
        return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--pdeathsig", ends,
                str(self.bin / program), *map(str, arguments)]

    def _answers(self):
        try:
            self.connect().close()
        except psycopg2.OperationalError as error:
            raise AssertionError(str(error)) from error
        return True

    def connect(self, database="postgres"):
        """As its owner, each statement a transaction of its own."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", password=self.password,
                                      dbname=database, application_name="test")
        connection.autocommit = True
        return connection

    def execute(self, database, sql, parameters=None):
        """Rows of the last statement, if it has any."""
        connection = self.connect(database)
        try:
            cursor = connection.cursor()
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def stop(self):
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(timeout=20)


class S3:
    """A server of its own with one bucket, `lake`."""

    KEY = "test"

    def __init__(self):
        self.secret = f"canary-s3-{secrets.token_hex(8)}"
        environment = os.environ | {"ROOT_ACCESS_KEY_ID": self.KEY, "ROOT_SECRET_ACCESS_KEY": self.secret}
        # It lasts as long as the other end of its standard input is open.
        self.process = subprocess.Popen(["bash", str(SERVICES / "versitygw.sh"), "serve"], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        answer = self.process.stdout.readline().split(maxsplit=1)
        if len(answer) != 2:
            raise AssertionError("the S3 server does not start")
        self.port = int(answer[0])
        self.lake = pathlib.Path(answer[1].strip()) / "lake"
        self.lake.mkdir()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
