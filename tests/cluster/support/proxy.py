"""A proxy before the API server, through which one process is watched, cut off, refused and killed.

Plain HTTP in, TLS out. Every request is known before it is sent on and again when the API server has done it, before its
answer goes back: a process that is killed there has had its effect and does not know.
"""

import contextlib
import dataclasses
import http.client
import http.server
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PATH = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?$"
)
# What belongs to one connection, and not to the message.
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "content-length"}


@dataclasses.dataclass
class Request:
    verb: str
    resource: str
    name: str | None
    at: float
    body: bytes = dataclasses.field(repr=False, default=b"")
    status: int | None = None

    @property
    def is_write(self):
        return self.verb in VERBS.values()

    def json(self):
        return json.loads(self.body or b"{}")


class Refused(Exception):
    """Raised by a rule instead of sending a request on: the answer is this status, or none at all."""

    def __init__(self, status=None):
        super().__init__(status)
        self.status = status


class ApiProxy:
    """`before(request)` may delay a request or raise `Refused`; `after(request)` sees it done, and may raise `Refused()`
    so that its answer is lost. Both are called by many threads, but for one write at a time when `in_turn`."""

    def __init__(self, cluster):
        self.lead_to(cluster.server)
        self._tls = ssl.create_default_context(cafile=str(cluster.authority))
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._streams = set()
        self.in_turn = False
        self.requests = []
        self.expired = 0
        self.before = lambda request: None
        self.after = lambda request: None
        proxy = self

        class Handler(_Handler):
            api = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def lead_to(self, server):
        """From the next request on; watches go on where they are."""
        target = urllib.parse.urlsplit(server)
        self._target = (target.hostname, target.port)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self.cut_watches()

    def writes(self, *resources, since=0.0):
        """Writes that the API server was asked for, of these resources, or of all but Leases."""
        with self._lock:
            return [request for request in self.requests if request.is_write and request.at >= since
                    and (request.resource in resources if resources else request.resource != "leases")]

    def seen(self, verb, resource=None, since=0.0):
        with self._lock:
            return [request for request in self.requests if request.verb == verb and request.at >= since
                    and resource in (None, request.resource)]

    def cut_watches(self):
        """Breaks every watch and log that is being read, in the middle. Gives back how many."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            for end in stream:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return len(streams)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that was killed is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    api: ApiProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        request = self._understand(body)
        is_in_turn = self.api.in_turn and request.is_write and request.resource != "leases"
        try:
            with self.api._turn if is_in_turn else contextlib.nullcontext():
                self.api.before(request)
                with self.api._lock:
                    self.api.requests.append(request)
                self._pass_on(request, body)
        except Refused as refused:
            self._refuse(refused.status)
        except (OSError, http.client.HTTPException):
            # As it is when the API server itself breaks off.
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _understand(self, body):
        target = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True))
        found = PATH.match(target.path)
        resource, name, part = (found["resource"], found["name"], found["part"]) if found else (target.path, None, None)
        if part:
            resource = f"{resource}/{part}"
        verb = VERBS.get(self.command) or ("watch" if query.get("watch") in ("true", "1") else "get" if name else "list")
        return Request(verb, resource, name, time.monotonic(), body)

    def _pass_on(self, request, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP | {"host", "accept-encoding"}}
        upstream = http.client.HTTPSConnection(*self.api._target, context=self.api._tls, timeout=120)
        try:
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            is_stream = request.verb == "watch" or request.resource == "pods/log"
            content = None if is_stream and answer.status == 200 else answer.read()
            request.status = answer.status
            if answer.status == 410:
                self.api.expired += 1
            self.api.after(request)
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            if content is None:
                self._stream(answer, upstream.sock or answer.fp.raw._sock)
            else:
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
        finally:
            upstream.close()

    def _stream(self, answer, upstream):
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ends = (self.connection, upstream)
        with self.api._lock:
            self.api._streams.add(ends)
        try:
            while data := answer.read1(65536):
                if b'"code":410' in data:
                    self.api.expired += 1
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            with self.api._lock:
                self.api._streams.discard(ends)

    def _refuse(self, status):
        self.close_connection = True
        if status is None:
            return
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                           "reason": "ServiceUnavailable", "message": "refused by the test"}).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
