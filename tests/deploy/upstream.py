"""An MCP server over HTTPS that lets nobody in without a certificate of the authority, and says in
its answer whom it saw. Run in a box; a name server besides, for those that ask one."""

import json
import socketserver
import ssl
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers every call with what it knows of the caller."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = self.connection.getpeercert().get("subjectAltName", [])
        seen = {
            "name": "upstream",
            "version": "1",
            "client": names[0][1],
            "host": self.headers["Host"],
            "path": self.path,
            "authorization": self.headers.get("Authorization"),
        }
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": seen}
        body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        self.send_response(200 if "id" in asked else 202)
        body = body if "id" in asked else b""
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_DELETE


class Names(socketserver.BaseRequestHandler):
    """RFC 1035, as much as it takes to say 127.0.0.1 for one name, and that there is no IPv6."""

    def handle(self):
        packet, socket = self.request
        end = packet.index(b"\0", 12)
        kind = struct.unpack("!H", packet[end + 1 : end + 3])[0]
        question = packet[12 : end + 5]
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode().lower())
            at += packet[at] + 1
        known = ".".join(labels) == sys.argv[2]
        answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01" if known and kind == 1 else b""
        counts = struct.pack("!HHHH", 1, 1 if answer else 0, 0, 0)
        flags = b"\x81\x80" if known else b"\x81\x83"
        socket.sendto(packet[:2] + flags + counts + question + answer, self.client_address)


def start(pod, authority, *names):
    """Starts the server in a box, on the port of HTTPS."""
    folder = pod.dir / "upstream"
    folder.mkdir()
    for name, contents in authority.leaf(*names).items():
        (folder / name).write_bytes(contents)
    return pod.start(sys.executable, __file__, "serve", folder, until="listening")


def names(pod, name):
    """Starts a name server in a box that knows one name."""
    return pod.start(sys.executable, __file__, "names", name, until="listening")


def main():
    if sys.argv[1] == "names":
        server = socketserver.UDPServer(("127.0.0.53", 53), Names)
    else:
        folder = Path(sys.argv[2])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        server = ThreadingHTTPServer(("127.0.0.1", 443), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
