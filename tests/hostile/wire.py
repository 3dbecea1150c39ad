"""A strict HTTP/1.1 client: every deviation is a failure."""

import re
import socket
from dataclasses import dataclass

TIMEOUT_SECONDS = 5
READ_BYTES = 64 * 1024
# Chooses the port at connect, not at bind, which allows more connections from one address.
IP_BIND_ADDRESS_NO_PORT = 24
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [ -~]*")
HEADER_LINE = re.compile(rb"([!-9;-~]+): ?([ -~]*)")
NO_BODY = (100, 204, 304)


class Failed(Exception):
    """Hallpass misbehaved."""


class Closed(Failed):
    """The connection ended before the first byte of the response."""


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes


class Connection:
    """A connection of a client that waits for each response."""

    def __init__(self, port, source="127.0.0.1", tls=None, timeout=TIMEOUT_SECONDS):
        self.socket = bound(source)
        self.rest = b""
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(("127.0.0.1", port))
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        except OSError as error:
            self.socket.close()
            raise Failed(f"no connection: {error}") from error

    def ask(self, method, target, headers=(), body=b""):
        try:
            self.socket.sendall(request(method, target, headers, body))
        except OSError as error:
            raise Closed(f"closed while sending: {error}") from error
        return self.answer()

    def answer(self):
        while (found := take_answer(self.rest)) is None:
            try:
                received = self.socket.recv(READ_BYTES)
            except TimeoutError as error:
                raise Failed("no response in time") from error
            except OSError as error:
                raise (Failed if self.rest else Closed)(f"broken: {error}") from error
            if not received:
                raise (Failed if self.rest else Closed)("closed without a response")
            self.rest += received
        answer, self.rest = found
        return answer

    def close(self):
        self.socket.close()


def ask_once(port, method, target, headers=(), body=b"", **options):
    """Sends one request on a new connection."""
    connection = Connection(port, **options)
    try:
        return connection.ask(method, target, headers, body)
    finally:
        connection.close()


def bound(source):
    """A socket that connects from this address."""
    new = socket.socket()
    new.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    new.bind((source, 0))
    return new


def request(method, target, headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def all_answers(stream):
    """Parses everything received on a connection as responses."""
    answers = []
    while stream:
        found = take_answer(stream)
        if found is None:
            raise Failed(f"a response broke off: {stream[:200]!r}")
        answer, stream = found
        answers.append(answer)
    return answers


def take_answer(stream):
    """The first response and the bytes after it; None if it is incomplete."""
    head, end, rest = stream.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    status = STATUS_LINE.fullmatch(first)
    fields = [HEADER_LINE.fullmatch(line) for line in lines]
    if not status or not all(fields):
        raise Failed(f"malformed response: {head[:200]!r}")
    names = [field[1].decode().lower() for field in fields]
    headers = {name: field[2].decode() for name, field in zip(names, fields)}
    code = int(status[1])
    if names.count("content-length") != (code not in NO_BODY) or "transfer-encoding" in names:
        raise Failed(f"a response without exactly one length: {head[:200]!r}")
    length = int(headers.get("content-length", 0))
    if len(rest) < length:
        return None
    return Answer(code, headers, rest[:length]), rest[length:]
