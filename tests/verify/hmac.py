"""HMAC by the standard library, over the request as it was received."""

import base64
import hashlib
import hmac
from urllib.parse import urlsplit


def verify(request, material):
    headers = {}
    for name, value in request["headers"]:
        headers.setdefault(name.lower(), []).append(value)
    one = lambda name: ", ".join(headers[name])
    body = request["body"]
    url = urlsplit(request["url"])
    key = material["key"].encode()
    shape = material["shape"]
    algorithm = material.get("algorithm", "sha256")

    def check(found, text):
        expected = hmac.new(key, text, algorithm).digest()
        decode = {"hex": bytes.fromhex, "base64": base64.b64decode}[material.get("digest", "hex")]
        if not hmac.compare_digest(decode(found), expected):
            raise ValueError(f"the signature is not that of {text[:200]!r}")

    if shape == "timestamp":
        check(one("x-signature"), one("x-timestamp").encode())
        if one("x-api-key") != material["key_id"]:
            raise ValueError("another key id")
    elif shape == "body":
        scheme, _, found = one("x-hub-signature-256").partition("=")
        if scheme != algorithm:
            raise ValueError(f"the scheme {scheme}")
        check(found, body)
    elif shape == "timestamp-body":
        pairs = dict(part.split("=", 1) for part in one("stripe-signature").split(","))
        check(pairs["v1"], pairs["t"].encode() + b"." + body)
    elif shape == "slack":
        version, _, found = one("x-slack-signature").partition("=")
        moment = one("x-slack-request-timestamp").encode()
        check(found, version.encode() + b":" + moment + b":" + body)
    elif shape == "everything":
        text = "\n".join([
            request["method"], url.path, url.query, url.netloc, one("x-time"), one("x-nonce"),
            hashlib.sha256(body).hexdigest(), one("x-tenant"),
            one("host") if "host" in headers else url.netloc,
            # As it was received, or not at all: what the connection announced of the body.
            one("content-length") if "content-length" in headers else "",
            request["url"],
        ])
        check(one("x-signature"), text.encode())
    else:
        raise ValueError(f"no shape {shape}")
