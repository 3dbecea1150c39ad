"""Attacks that send a lot on one connection."""

import select
import socket
import time

from crowd import address
from wire import READ_BYTES, Failed, bound, request

ENDLESS_SECONDS = 4
ENDLESS_BYTES_MAX = 4 * 1024 * 1024
CHUNKED = b"POST /auth/signin HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
BEGINNINGS = {
    "header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"a" * 16384),
    "headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n" * 2000),
    "target": (b"GET /", b"a" * 16384),
    "method": (b"GET", b"A" * 16384),
    "empty lines": (b"\r\n", b"\r\n" * 8192),
    "body": (b"POST /auth/signin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n", b"a" * 16384),
    "chunks": (CHUNKED, b"1\r\na\r\n" * 3000),
    "chunk size": (CHUNKED, b"0" * 16384),
    "chunk extension": (CHUNKED + b"1;", b"a" * 16384),
}

CONNECTIONS = 50
REQUESTS_PER_CONNECTION = 20_000
PIPELINE_SECONDS_MAX = 90
QUESTION = request("GET", "/auth/check")
ANSWER_START = b"HTTP/1.1 401"


def endless(target):
    """Endless requests must be cut off; each is sent again and again."""
    most = dict.fromkeys(BEGINNINGS, 0)
    end = time.monotonic() + ENDLESS_SECONDS
    while time.monotonic() < end:
        for name, parts in BEGINNINGS.items():
            most[name] = max(most[name], send_until_cut(target.port, *parts))
    return "cut after at most: " + ", ".join(f"{name} {count // 1024} KiB" for name, count in most.items())


def send_until_cut(port, beginning, more):
    with bound(address(0)) as client:
        client.settimeout(5)
        # Bytes in this buffer count as sent, so it is small.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        client.connect(("127.0.0.1", port))
        client.sendall(beginning)
        sent = len(beginning)
        try:
            while sent < ENDLESS_BYTES_MAX:
                sent += client.send(more)
        except TimeoutError as error:
            raise Failed(f"{beginning!r} was neither read nor cut off after {sent} bytes") from error
        except OSError:
            return sent
    raise Failed(f"{beginning!r} was not cut off after {sent} bytes")


def pipelined(target):
    """Sends a million requests without waiting for responses. Each must be answered eventually."""
    poll = select.epoll()
    clients = [Pipeliner(target.port, address(index)) for index in range(CONNECTIONS)]
    by_descriptor = {client.socket.fileno(): client for client in clients}
    for client in clients:
        poll.register(client.socket, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    start = time.monotonic()
    expected = CONNECTIONS * REQUESTS_PER_CONNECTION
    while (answered := sum(client.answered for client in clients)) < expected:
        if time.monotonic() > start + PIPELINE_SECONDS_MAX:
            raise Failed(f"{answered} of {expected} requests answered after {PIPELINE_SECONDS_MAX} s")
        for descriptor, _ in poll.poll(1):
            by_descriptor[descriptor].proceed()
    for client in clients:
        client.socket.close()
    poll.close()
    return f"{expected} requests, {expected / (time.monotonic() - start):.0f} a second"


class Pipeliner:
    def __init__(self, port, source):
        self.socket = bound(source)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.unsent = memoryview(QUESTION * REQUESTS_PER_CONNECTION)
        self.answered = 0
        self.tail = b""

    def proceed(self):
        try:
            while received := self.socket.recv(READ_BYTES):
                seen = self.tail + received
                self.answered += seen.count(ANSWER_START)
                self.tail = seen[1 - len(ANSWER_START):]
            raise Failed(f"closed after {self.answered} pipelined requests")
        except BlockingIOError:
            pass
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent[:READ_BYTES]):]
        except BlockingIOError:
            pass
