"""Attacks of many connections at once."""

import errno
import select
import socket
import ssl
import struct

from crowd import Crowd, address
from wire import Failed, bound, request

# What serving.rs allows one address that is no trusted proxy.
CONNECTIONS_PER_ADDRESS = 64
SLOW_HEADERS = b"GET /auth/check HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_BODY = b"POST /auth/signin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000\r\n\r\n{"
PAGES = request("GET", "/auth/signin", ["Accept: text/html"]) * 200
RESETS = 10_000
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def idle_of_many(target):
    crowd = Crowd(target.port, 5000)
    still_open = crowd.attack(6)
    return f"{crowd}, {still_open} open at the end"


def idle_of_one(target):
    crowd = Crowd(target.port, 5000, again=1, one_address=True)
    still_open = crowd.attack(5)
    if still_open > CONNECTIONS_PER_ADDRESS:
        raise Failed(f"one address holds {still_open} connections")
    return f"{crowd}, {still_open} open at the end"


def slow_headers_of_many(target):
    crowd = Crowd(target.port, 2000, SLOW_HEADERS, drip=b"a", again=1)
    crowd.attack(12)
    return str(crowd)


def slow_headers_of_one(target):
    crowd = Crowd(target.port, 2000, SLOW_HEADERS, drip=b"a", again=1, one_address=True)
    crowd.attack(5)
    return str(crowd)


def slow_bodies(target):
    crowd = Crowd(target.port, 2000, SLOW_BODY, drip=b" ", again=1)
    crowd.attack(12)
    return str(crowd)


def never_reading(target):
    crowd = Crowd(target.port, 2000, PAGES, reads=False, again=1)
    crowd.attack(12)
    return str(crowd)


def stopped_handshakes(target):
    whole = client_hello()
    hellos = [b"", whole[:len(whole) // 2], whole, b"\x16\x03\x01\xff\xff", b"GET / HTTP/1.1\r\n\r\n"]
    crowd = Crowd(target.port, 2000, lambda index: hellos[index % len(hellos)], reads=False, again=1)
    crowd.attack(12)
    return str(crowd)


def client_hello():
    """The first message of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def resets(target):
    """Every other one asks before it goes."""
    question = request("GET", "/auth/check")
    for index in range(RESETS):
        with bound(address(index)) as client:
            client.setblocking(False)
            if client.connect_ex(("127.0.0.1", target.port)) == errno.EINPROGRESS:
                select.select([], [client], [], 5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            if index % 2:
                try:
                    client.send(question)
                except OSError:
                    pass
    return f"{RESETS} connections reset"
