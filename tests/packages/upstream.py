"""An MCP server that wants a client certificate and a token, for one tool list: what a package is
told to reach. Writes its URL to a file once it listens, and a line for each request to stdout.

upstream.py CERTS TOKEN FILE
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

certs, token, said = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
RESULTS = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "upstream", "version": "1"},
    },
    "tools/list": {"tools": []},
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        if body:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        subject = dict(pair[0] for pair in self.connection.getpeercert()["subject"])
        print(subject["commonName"], message.get("method"), flush=True)
        if self.headers["authorization"] != f"Bearer {token}":
            self.answer(401)
        elif "id" in message:
            result = RESULTS.get(message["method"], {})
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            self.answer(200, json.dumps(answer).encode())
        else:
            self.answer(202)

    def do_GET(self):
        self.answer(405)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certs / "server.pem", certs / "server.key")
context.load_verify_locations(certs / "ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.socket = context.wrap_socket(server.socket, server_side=True)
said.write_text(f"https://localhost:{server.server_port}/mcp")
server.serve_forever()
