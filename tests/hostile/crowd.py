"""Many clients that do the same thing, each on one connection and mostly from its own address."""

import errno
import select
import socket
import time

from wire import READ_BYTES, bound

TURN_SECONDS = 0.05
TURNS_PER_SECOND = 20
OPENINGS_PER_TURN = 500
LAST_SECONDS = 1


def address(index):
    """The address of an attacker. The server trusts none of them."""
    return f"127.{index // 62500 % 200 + 2}.{index // 250 % 250}.{index % 250 + 1}"


class Crowd:
    """`size` clients that send `hello`, then `drip` every second, and reconnect `again` seconds after the server closes
    (never if None). `hello` may be a function of the client's number. They share `addresses` addresses, or have one
    each."""

    def __init__(self, port, size, hello=b"", drip=b"", reads=True, again=None, addresses=None):
        self.port = port
        self.hello = hello if callable(hello) else lambda _: hello
        self.drip = drip
        self.again = again
        self.addresses = addresses or size
        self.receive_buffer = None if reads else 4096
        self.watched = select.EPOLLRDHUP | (select.EPOLLIN if reads else 0)
        self.poll = select.epoll()
        self.sockets = [None] * size
        self.due = [0.0] * size
        self.owner = {}
        self.opened = 0
        self.closed = 0

    def attack(self, seconds):
        start = time.monotonic()
        turn = 0
        while (now := time.monotonic()) < start + seconds:
            # No new connections at the end: those still open are the ones that the server tolerates.
            if now < start + seconds - LAST_SECONDS:
                self.open_some(now)
            if self.drip:
                self.send_drips(turn % TURNS_PER_SECOND)
            turn += 1
            self.handle_events(start + turn * TURN_SECONDS)
        still_open = len(self.owner)
        for index in list(self.owner.values()):
            self.close(index)
        self.poll.close()
        return still_open

    def __str__(self):
        return f"{self.opened} connections, {self.closed} closed by Hallpass"

    def handle_events(self, until):
        left = 0
        while left >= 0:
            for descriptor, event in self.poll.poll(max(left, 0)):
                if descriptor in self.owner:
                    self.handle(self.owner[descriptor], event)
            left = until - time.monotonic()

    def open_some(self, now):
        missing = (i for i, socket in enumerate(self.sockets) if socket is None and self.due[i] <= now)
        for index, _ in zip(missing, range(OPENINGS_PER_TURN)):
            self.open(index)

    def open(self, index):
        new = bound(address(index % self.addresses))
        if self.receive_buffer:
            new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        new.setblocking(False)
        result = new.connect_ex(("127.0.0.1", self.port))
        if result not in (0, errno.EINPROGRESS):
            new.close()
            raise OSError(result, "cannot connect")
        self.sockets[index] = new
        self.owner[new.fileno()] = index
        self.poll.register(new, self.watched | select.EPOLLOUT)
        self.opened += 1

    def handle(self, index, event):
        if event & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            return self.lose(index)
        try:
            if event & select.EPOLLOUT:
                self.poll.modify(self.sockets[index], self.watched)
                self.sockets[index].send(self.hello(index))
            if event & select.EPOLLIN and not self.sockets[index].recv(READ_BYTES):
                self.lose(index)
        except BlockingIOError:
            pass
        except OSError:
            self.lose(index)

    def send_drips(self, part):
        for index in range(part, len(self.sockets), TURNS_PER_SECOND):
            if self.sockets[index]:
                try:
                    self.sockets[index].send(self.drip)
                except BlockingIOError:
                    pass
                except OSError:
                    self.lose(index)

    def lose(self, index):
        self.closed += 1
        self.close(index)
        self.due[index] = float("inf") if self.again is None else time.monotonic() + self.again

    def close(self, index):
        gone, self.sockets[index] = self.sockets[index], None
        del self.owner[gone.fileno()]
        gone.close()
