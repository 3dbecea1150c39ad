"""Requests that two servers could read differently. Each must get exactly one response and close the connection.

Each is followed by a second request, which a server that misreads the first would answer. The responses must not depend
on how the bytes are split into packets.
"""

import socket
import time

from crowd import address
from wire import READ_BYTES, Failed, all_answers, bound

TIMEOUT_SECONDS = 5
SECOND = "GET /auth/me HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = "POST /auth/signin HTTP/1.1\r\nHost: localhost\r\n"
OUT = "POST /auth/signout HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
GET = "GET /auth/check HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
CLOSE = "Connection: close\r\n"
NO_CHUNK = "\r\n0\r\n\r\n"

# Name, permitted statuses, the bytes before the second request.
CORPUS = [
    ("CL.TE", {400}, f"{POST}Content-Length: 5\r\n{CHUNKED}{NO_CHUNK}"),
    ("TE.CL", {400}, f"{POST}{CHUNKED}Content-Length: 5\r\n{NO_CHUNK}"),
    ("TE.CL, empty length", {400}, f"{POST}{CHUNKED}Content-Length:\r\n{NO_CHUNK}"),
    ("TE.0", {400}, f"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}Content-Length: 0\r\n{NO_CHUNK}"),
    ("TE identity", {400}, f"{POST}Transfer-Encoding: identity\r\n\r\n"),
    ("TE twice", {400}, f"{POST}{CHUNKED}{CHUNKED}{NO_CHUNK}"),
    ("TE twice, two codings", {400}, f"{POST}{CHUNKED}Transfer-Encoding: identity\r\n{NO_CHUNK}"),
    ("TE twice, other order", {400}, f"{POST}Transfer-Encoding: x\r\n{CHUNKED}{NO_CHUNK}"),
    ("TE in two steps", {400}, f"{POST}Transfer-Encoding: gzip, chunked\r\n{NO_CHUNK}"),
    ("TE with an empty step", {400}, f"{POST}Transfer-Encoding: , chunked\r\n{NO_CHUNK}"),
    ("TE with a comma behind", {400}, f"{POST}Transfer-Encoding: chunked,\r\n{NO_CHUNK}"),
    ("TE with a parameter", {400}, f"{POST}Transfer-Encoding: chunked;q=1\r\n{NO_CHUNK}"),
    ("TE with a second word", {400}, f"{POST}Transfer-Encoding: chunked x\r\n{NO_CHUNK}"),
    ("TE not final", {400}, f"{POST}Transfer-Encoding: chunked, identity\r\n{NO_CHUNK}"),
    ("TE empty", {400}, f"{POST}Transfer-Encoding:\r\n{NO_CHUNK}"),
    ("TE unknown", {400}, f"{POST}Transfer-Encoding: xchunked\r\n{NO_CHUNK}"),
    ("TE in quotes", {400}, f'{POST}Transfer-Encoding: "chunked"\r\n{NO_CHUNK}'),
    ("TE with a letter that is not ASCII", {400}, f"{POST}Transfer-Encoding: chunk\u00e9d\r\n{NO_CHUNK}"),
    ("TE after a vertical tab", {400}, f"{POST}Transfer-Encoding: \x0bchunked\r\n{NO_CHUNK}"),
    ("TE with space before colon", {400}, f"{POST}Transfer-Encoding : chunked\r\n{NO_CHUNK}"),
    ("TE after a space", {400}, f"{POST} Transfer-Encoding: chunked\r\n{NO_CHUNK}"),
    ("TE after a bare CR", {400}, f"{POST}X: y\rTransfer-Encoding: chunked\r\n{NO_CHUNK}"),
    ("TE after a bare LF", {400}, f"{POST}X: y\nTransfer-Encoding: chunked\r\n{NO_CHUNK}"),
    ("TE folded", {400}, f"{POST}Transfer-Encoding:\r\n chunked\r\n{NO_CHUNK}"),
    ("TE in HTTP/1.0", {400}, f"POST /auth/signin HTTP/1.0\r\nHost: localhost\r\n{CHUNKED}{NO_CHUNK}"),
    *[(f"chunks: {name}", {status}, f"{POST}{CHUNKED}\r\n{chunks}") for name, status, chunks in [
        ("no size", 400, "\r\n\r\n"),
        ("size after a space", 400, " 1\r\nx\r\n0\r\n\r\n"),
        ("size before a space", 400, "1 \r\nx\r\n0\r\n\r\n"),
        ("size before a tab", 400, "1\t\r\nx\r\n0\r\n\r\n"),
        ("size with 0x", 400, "0x1\r\nx\r\n0\r\n\r\n"),
        ("size with plus", 400, "+1\r\nx\r\n0\r\n\r\n"),
        ("size with minus", 400, "-1\r\nx\r\n0\r\n\r\n"),
        ("size with underscore", 400, "1_0\r\nx\r\n0\r\n\r\n"),
        ("size in quotes", 400, '"1"\r\nx\r\n0\r\n\r\n'),
        ("size not hexadecimal", 400, "g\r\nx\r\n0\r\n\r\n"),
        ("size before a NUL", 400, "1\0\r\nx\r\n0\r\n\r\n"),
        ("size of 64 bits and more", 413, "fffffffffffffffff1\r\nx\r\n0\r\n\r\n"),
        ("size that wraps to 0", 413, "10000000000000000\r\n\r\n"),
        ("size of 32 bits and more", 413, "100000001\r\nx\r\n0\r\n\r\n"),
        ("size beyond the limit", 413, "4001\r\n"),
        ("sizes beyond the limit", 413, f"4000\r\n{'x' * 16384}\r\n1\r\nx\r\n0\r\n\r\n"),
        ("endless zeros", 413, "0" * 65537),
        ("endless extension", 413, "1;" + "x" * 65536),
        ("size ends with LF", 400, "1\nx\r\n0\r\n\r\n"),
        ("size ends with CR", 400, "1\rx\r\n0\r\n\r\n"),
        ("size ends with CR CR LF", 400, "1\r\r\nx\r\n0\r\n\r\n"),
        ("data ends with LF", 400, "1\r\nx\n0\r\n\r\n"),
        ("data ends with CR", 400, "1\r\nx\r0\r\n\r\n"),
        ("data ends with something else", 400, "1\r\nxXX0\r\n\r\n"),
        ("data longer than its size", 400, "1\r\nxyz\r\n0\r\n\r\n"),
        ("data shorter than its size", 400, "8\r\nx\r\n0\r\n\r\n"),
        ("last ends with LF", 400, "0\n\r\n"),
        ("last empty line is LF", 400, "0\r\n\n"),
        ("extension with LF", 400, "1;a\nx\r\n0\r\n\r\n"),
        ("extension with CR", 400, "1;a\rb\r\nx\r\n0\r\n\r\n"),
        ("extension with a NUL", 400, "1;a\0\r\nx\r\n0\r\n\r\n"),
        ("extension after a space", 400, "1 ;a\r\nx\r\n0\r\n\r\n"),
        ("extension in quotes over a line", 400, '2;a="\r\n"\r\nxy\r\n0\r\n\r\n'),
        ("trailer", 400, "0\r\nX: y\r\n\r\n"),
        ("trailer with a length", 400, "0\r\nContent-Length: 5\r\n\r\n"),
        ("trailer with another TE", 400, "0\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("trailer of spaces", 400, "0\r\n \r\n\r\n"),
        ("a second last chunk", 400, "0\r\n0\r\n\r\n"),
        ("no last chunk", 400, "1\r\nx\r\n\r\n"),
    ]],
    ("two equal lengths", {400}, f"{POST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    ("two lengths", {400}, f"{POST}Content-Length: 0\r\nContent-Length: 44\r\n\r\n"),
    ("two lengths in one", {400}, f"{POST}Content-Length: 0, 44\r\n\r\n"),
    ("two equal lengths in one", {400}, f"{POST}Content-Length: 0, 0\r\n\r\n"),
    ("length with plus", {400}, f"{POST}Content-Length: +0\r\n\r\n"),
    ("length with minus", {400}, f"{POST}Content-Length: -1\r\n\r\n"),
    ("length in hexadecimal", {400}, f"{POST}Content-Length: 0x0\r\n\r\n"),
    ("length with underscore", {400}, f"{POST}Content-Length: 4_4\r\n\r\n"),
    ("length with fraction", {400}, f"{POST}Content-Length: 0.0\r\n\r\n"),
    ("length with space inside", {400}, f"{POST}Content-Length: 4 4\r\n\r\n"),
    ("length empty", {400}, f"{POST}Content-Length:\r\n\r\n"),
    ("length no number", {400}, f"{POST}Content-Length: none\r\n\r\n"),
    ("length beyond 64 bits", {413}, f"{POST}Content-Length: 18446744073709551616\r\n\r\n"),
    ("length beyond the limit", {413}, f"{POST}Content-Length: 16385\r\n\r\n"),
    ("length with space before colon", {400}, f"{POST}Content-Length : 44\r\n\r\n"),
    ("length folded", {400}, f"{POST}Content-Length:\r\n 44\r\n\r\n"),
    ("length after a NUL", {400}, f"{POST}Content-Length: \x0044\r\n\r\n"),
    ("obs-fold", {400}, f"{GET}X: y\r\n z\r\n\r\n"),
    ("obs-fold with tab", {400}, f"{GET}X: y\r\n\tz\r\n\r\n"),
    ("fold before the first header", {400}, "GET /auth/check HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    ("bare LF everywhere", {400}, "GET /auth/check HTTP/1.1\nHost: localhost\n\n"),
    ("bare LF after the first line", {400}, "GET /auth/check HTTP/1.1\nHost: localhost\r\n\r\n"),
    ("bare LF after a header", {400}, f"{GET}X: y\n\r\n"),
    ("bare LF at the end", {400}, f"{GET}X: y\r\n\n"),
    ("bare CR", {400}, f"{GET}X: y\rz\r\n\r\n"),
    ("bare CR at the end", {400}, f"{GET}X: y\r\r\n\r\n"),
    ("bare LF first", {400}, f"\n{GET}\r\n"),
    ("bare CR first", {400}, f"\r{GET}\r\n"),
    ("endless empty lines", {431}, "\r\n" * 9000),
    ("NUL in a value", {400}, f"{GET}X: y\x00z\r\n\r\n"),
    ("NUL in a name", {400}, f"{GET}X\x00Y: z\r\n\r\n"),
    ("NUL in the target", {400}, "GET /auth/check\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("control character in a value", {400}, f"{GET}X: y\x08z\r\n\r\n"),
    ("DEL in a value", {400}, f"{GET}X: y\x7fz\r\n\r\n"),
    ("space in a name", {400}, f"{GET}X Y: z\r\n\r\n"),
    ("no name", {400}, f"{GET}: z\r\n\r\n"),
    ("no colon", {400}, f"{GET}X\r\n\r\n"),
    ("no Host", {400}, "GET /auth/check HTTP/1.1\r\n\r\n"),
    ("two Hosts", {400}, f"{GET}Host: localhost\r\n\r\n"),
    ("Host with a path", {400}, "GET /auth/check HTTP/1.1\r\nHost: localhost/x\r\n\r\n"),
    ("Host with an at sign", {400}, "GET /auth/check HTTP/1.1\r\nHost: a@localhost\r\n\r\n"),
    ("Host with a space", {400}, "GET /auth/check HTTP/1.1\r\nHost: local host\r\n\r\n"),
    ("Host with two ports", {400}, "GET /auth/check HTTP/1.1\r\nHost: localhost:1:2\r\n\r\n"),
    ("Host with an open bracket", {400}, "GET /auth/check HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ("absolute form without Host", {400}, "GET http://localhost/auth/check HTTP/1.1\r\n\r\n"),
    ("absolute form with a user", {400}, "GET http://a@localhost/auth/check HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("absolute form without a host", {400}, "GET http:///auth/check HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("absolute form, other scheme", {400}, "GET ftp://localhost/auth/check HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("authority form", {400}, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("asterisk with GET", {400}, "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("fragment", {400}, "GET /auth/check#x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("target not ASCII", {400}, "GET /auth/check\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("no target", {400}, "GET  HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("two spaces", {400}, "GET  /auth/check HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("tabs for spaces", {400}, "GET\t/auth/check\tHTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("space at the end of the first line", {400, 505}, "GET /auth/check HTTP/1.1 \r\nHost: localhost\r\n\r\n"),
    ("a fourth word", {400, 505}, "GET /auth/check HTTP/1.1 x\r\nHost: localhost\r\n\r\n"),
    ("method not a token", {400}, "G(T /auth/check HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("HTTP/0.9", {400}, "GET /auth/check\r\n"),
    ("HTTP/2.0", {400, 505}, "GET /auth/check HTTP/2.0\r\nHost: localhost\r\n\r\n"),
    ("HTTP/1.10", {400, 505}, "GET /auth/check HTTP/1.10\r\nHost: localhost\r\n\r\n"),
    ("http in small letters", {400}, "GET /auth/check http/1.1\r\nHost: localhost\r\n\r\n"),
    ("another protocol", {400}, "GET /auth/check ICAP/1.0\r\nHost: localhost\r\n\r\n"),
    ("PRI", {400, 505}, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("TLS", {400}, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("PROXY", {400, 505}, f"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n{GET}\r\n"),
    ("Expect of something else", {417}, f"{POST}Expect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    ("too many headers", {431}, GET + "X: y\r\n" * 101 + "\r\n"),
    ("too large a head", {431}, f"{GET}X: {'y' * 17000}\r\n\r\n"),
    # Well-formed requests with one meaning. They ask to close the connection.
    ("empty line first", {401}, f"\r\n{GET}{CLOSE}\r\n"),
    ("absolute form", {401}, f"GET http://localhost/auth/check HTTP/1.1\r\nHost: localhost\r\n{CLOSE}\r\n"),
    ("absolute form, other host", {401}, f"GET http://other/auth/check HTTP/1.1\r\nHost: localhost\r\n{CLOSE}\r\n"),
    ("HTTP/1.2", {401}, f"GET /auth/check HTTP/1.2\r\nHost: localhost\r\n{CLOSE}\r\n"),
    ("chunks", {204}, f"{OUT}{CLOSE}{CHUNKED}\r\n3\r\na=b\r\n0\r\n\r\n"),
    ("chunks with zeros before the size", {204}, f"{OUT}{CLOSE}{CHUNKED}\r\n0003\r\na=b\r\n000\r\n\r\n"),
    ("chunks with extensions", {204}, f'{OUT}{CLOSE}{CHUNKED}\r\n3;a="b; c"\r\na=b\r\n0;d\r\n\r\n'),
    ("chunks with a request inside", {204}, f"{OUT}{CLOSE}{CHUNKED}\r\n{len(SECOND):x}\r\n{SECOND}\r\n0\r\n\r\n"),
    ("no chunk", {204}, f"{OUT}{CLOSE}{CHUNKED}{NO_CHUNK}"),
    ("TE after a tab", {204}, f"{OUT}{CLOSE}Transfer-Encoding:\tchunked\r\n{NO_CHUNK}"),
    ("TE in capitals", {204}, f"{OUT}{CLOSE}TRANSFER-ENCODING: CHUNKED \r\n{NO_CHUNK}"),
    ("TE on GET", {401}, f"{GET}{CLOSE}{CHUNKED}{NO_CHUNK}"),
    ("chunks on GET", {401}, f"{GET}{CLOSE}{CHUNKED}\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE in HTTP/1.2", {401}, f"GET /auth/check HTTP/1.2\r\nHost: localhost\r\n{CLOSE}{CHUNKED}{NO_CHUNK}"),
    ("underscores in names", {401}, f"{GET}{CLOSE}Content_Length: 44\r\nTransfer_Encoding: chunked\r\n\r\n"),
    ("Connection names a header", {401}, f"{GET}Connection: close, Host, Cookie, Content-Length\r\n\r\n"),
    ("upgrade to h2c", {401}, f"{GET}{CLOSE}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"),
    ("body on GET", {401}, f"{GET}{CLOSE}Content-Length: 5\r\n\r\nhello"),
    ("the door's own header", {401}, f"{GET}{CLOSE}X-Hallpass-Peer: 127.0.0.1\r\nX_Hallpass_Peer: ::1\r\n\r\n"),
    ("HTTP/1.0 without keep-alive", {401}, "GET /auth/check HTTP/1.0\r\n\r\n"),
    ("encoded line break in the target", {404}, f"GET /%0d%0aX:%20y HTTP/1.1\r\nHost: localhost\r\n{CLOSE}\r\n"),
]


def smuggling(target):
    wrong = []
    for name, expected, first in CORPUS:
        stream = (first + SECOND).encode("latin-1")
        for pieces in (whole, byte_by_byte, in_lines):
            try:
                statuses = [answer.status for answer in all_answers(send(target.port, pieces(stream)))]
            except Failed as failure:
                statuses = [str(failure)]
            if len(statuses) != 1 or statuses[0] not in expected:
                wrong.append(f"{name}, {pieces.__name__}: {statuses}")
    if wrong:
        raise Failed("; ".join(wrong))
    return f"{len(CORPUS)} requests in 3 ways each"


def whole(stream):
    return [stream]


def byte_by_byte(stream):
    """Splits long requests into fewer parts, to save time."""
    step = max(1, len(stream) // 400)
    return [stream[at:at + step] for at in range(0, len(stream), step)]


def in_lines(stream):
    return stream.splitlines(keepends=True)


def send(port, pieces, last=False):
    """Sends the parts; returns everything received until the connection ends. With `last`, closes the sending side."""
    received = b""
    with bound(address(0)) as client:
        client.settimeout(TIMEOUT_SECONDS)
        client.connect(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0)  # Lets the server read this part.
            if last:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The server has closed already; the response may have arrived.
        try:
            while fresh := client.recv(READ_BYTES):
                received += fresh
        except TimeoutError as error:
            raise Failed(f"not closed, after {received[:80]!r}") from error
        except OSError as error:
            if not received:
                raise Failed(f"reset before the response: {error}") from error
    return received
