"""Attacks with many connections at once."""

import errno
import select
import socket
import ssl
import struct
import threading
import time

from crowd import Crowd, address
from wire import Connection, Failed, bound, request

# The limit in src/http/service.rs for an address that is not a trusted proxy.
CONNECTIONS_PER_ADDRESS = 64
SLOW_HEADERS = b"GET /auth/check HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_BODY = b"POST /auth/signin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000\r\n\r\n{"
PAGES = request("GET", "/auth/signin", ["Accept: text/html"]) * 200
RESETS = 10_000
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
HANDSHAKE_CONNECTIONS = 60
# A client on another continent: its request arrives this long after it connects.
FAR_SECONDS = 0.3
FAR_ADDRESS = "127.1.0.2"


def idle_of_many(target):
    crowd = Crowd(target.port, 5000)
    still_open = crowd.attack(6)
    return f"{crowd}, {still_open} open at the end"


def idle_of_one(target):
    crowd = Crowd(target.port, 5000, again=1, addresses=1)
    still_open = crowd.attack(5)
    if still_open > CONNECTIONS_PER_ADDRESS:
        raise Failed(f"one address holds {still_open} connections")
    return f"{crowd}, {still_open} open at the end"


def silent_of_twenty(target):
    """Twenty addresses open connections as fast as they can; a distant client must still be served."""
    far = FarClient(target.port)
    crowd = Crowd(target.port, 3000, again=0, addresses=20)
    crowd.attack(8)
    far.stop()
    return f"{crowd}, a far client was served {far.served} times"


class FarClient:
    """Sends requests, each on a new connection and long after connecting."""

    def __init__(self, port):
        self.port = port
        self.served = 0
        self.failures = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                connection = Connection(self.port, source=FAR_ADDRESS)
                time.sleep(FAR_SECONDS)
                connection.ask("GET", "/auth/check")
                connection.close()
                self.served += 1
            except Failed as failure:
                self.failures.append(str(failure))

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.failures or not self.served:
            raise Failed(f"a far client was served {self.served} times and failed {len(self.failures)} times: "
                         f"{self.failures[:3]}")


def slow_headers_of_many(target):
    crowd = Crowd(target.port, 2000, SLOW_HEADERS, drip=b"a", again=1)
    crowd.attack(12)
    return str(crowd)


def slow_headers_of_one(target):
    crowd = Crowd(target.port, 2000, SLOW_HEADERS, drip=b"a", again=1, addresses=1)
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


def handshakes(addresses, target):
    """Makes the server sign at no cost to the attacker, by sending the same ClientHello again and again."""
    size = HANDSHAKE_CONNECTIONS * addresses
    crowd = Handshakes(target.port, size, client_hello(), drip=b"", again=0, addresses=addresses)
    crowd.attack(8)
    return f"{crowd}, {crowd.answered} handshakes answered"


class Handshakes(Crowd):
    """Clients that reset the connection after the server's response, and reconnect at once."""

    answered = 0

    def handle(self, index, event):
        if event & select.EPOLLIN and not event & select.EPOLLRDHUP:
            self.sockets[index].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.answered += 1
            self.close(index)
            self.open(index)
        else:
            super().handle(index, event)


def client_hello():
    """The first message of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def resets(target):
    """Connects and resets; every other client sends a request first."""
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
