"""A person for the Python scripts: their redirect's listener, and the browser that Playwright drives (../node)."""

import http.server
import os
import pathlib
import subprocess
import threading

BROWSER = pathlib.Path(__file__).parent.parent / "node" / "browser.mjs"


class Listener:
    """The client's side of the redirect, on a free port of 127.0.0.1."""

    def __init__(self):
        listener = self
        self.arrived = threading.Event()
        self.target = None

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                known = self.path.startswith("/callback?")
                self.send_response(200 if known else 404)
                self.end_headers()
                if known:
                    listener.target = self.path
                    listener.arrived.set()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.redirect_uri = f"{self.origin}/callback"

    def visit(self, authorization_url):
        """The person signs in and allows; returns the address that the browser was sent to."""
        self.arrived.clear()
        command = [os.environ.get("NODE", "node"), BROWSER, authorization_url]
        subprocess.run(command, check=True, timeout=90, stdout=subprocess.DEVNULL)
        assert self.arrived.wait(10), "the browser did not come back"
        return self.origin + self.target

    def close(self):
        self.server.shutdown()
