"""A stand-in for Google's tokeninfo that can be made to hang, and so can its keys. It has no usable key."""

import base64
import hashlib
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CLIENT_ID = "hostile.apps.googleusercontent.com"
TOKEN_SECONDS = 3600
HANG_SECONDS_MAX = 30
serial = itertools.count()


class Google:
    """Accepts every token made by `token`; runs in threads of this process."""

    def __init__(self):
        answering = threading.Event()
        answering.set()
        keys_answering = threading.Event()
        keys_answering.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                wanted = keys_answering if self.path.endswith("/keys") else answering
                if not wanted.wait(HANG_SECONDS_MAX):
                    self.close_connection = True
                    return
                status, body = tokeninfo(self.path)
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # Hallpass timed out.

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_):
                pass  # Connections that Hallpass closed.

        self.answering, self.keys_answering = answering, keys_answering
        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/tokeninfo"

    def hang(self):
        self.answering.clear()

    def resume(self):
        self.answering.set()

    def hang_keys(self):
        self.keys_answering.clear()

    def resume_keys(self):
        self.keys_answering.set()


def token(person="1"):
    """A new token."""
    now = int(time.time())
    claims = {
        "iss": "https://accounts.google.com", "aud": CLIENT_ID, "sub": f"1000{person}", "name": f"Person {person}",
        "email": f"person{person}@gmail.com", "email_verified": "true", "jti": f"{next(serial)}.{time.time_ns()}",
        "iat": str(now), "exp": str(now + TOKEN_SECONDS),
    }
    signed = f"{segment({'alg': 'RS256'})}.{segment(claims)}"
    return f"{signed}.{signature(signed)}"


def signature(signed):
    """As long as a real one; it only tells genuine tokens from mutated ones."""
    return hashlib.sha256(signed.encode()).hexdigest() * 5


def segment(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def tokeninfo(path):
    try:
        signed, _, given = parse_qs(urlsplit(path).query)["id_token"][0].rpartition(".")
        if given == signature(signed):
            return 200, base64.urlsafe_b64decode(signed.split(".")[1] + "===")
    except (LookupError, ValueError):
        pass
    return 400, b'{"error":"invalid_token"}'
