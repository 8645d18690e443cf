"""Verifies a request as RFC 9421 and RFC 9530 say, with http-message-signatures.

The body is checked against the digest that the signature covers, not against any digest.
"""

import http_message_signatures as hms
from http_message_signatures import algorithms

ALGORITHMS = {
    "hmac-sha256": algorithms.HMAC_SHA256,
    "ed25519": algorithms.ED25519,
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
    "ecdsa-p384-sha384": algorithms.ECDSA_P384_SHA384,
    "rsa-pss-sha512": algorithms.RSA_PSS_SHA512,
    "rsa-v1_5-sha256": algorithms.RSA_V1_5_SHA256,
}


class Headers:
    """The lines of a head, in order, of which several can have one name.

    The library takes each byte of a value as one character.
    """

    def __init__(self, lines):
        self.lines = [(name, value.encode().decode("latin-1")) for name, value in lines]

    def items(self):
        return list(self.lines)


class Message:
    """A request, in the form that the library takes."""

    def __init__(self, request):
        self.method = request["method"]
        self.url = request["url"]
        self.headers = Headers(request["headers"])


def verify(request, material):
    """Raises unless the one signature of the request is of this key, and covers what it has to."""
    keyid = material["keyid"]
    keys = hms.MappingKeyResolver(public_keys={keyid: material["key"].encode()}, private_keys={})
    verifier = hms.HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[material["algorithm"]], key_resolver=keys
    )
    results = verifier.verify(
        Message(request),
        expect_tag=material.get("tag"),
        require_components=material["covers"].split(),
        body=request["body"],
    )
    assert len(results) == 1, results
    assert results[0].label == material.get("label", "sig1"), results[0].label
    for name in ("nonce", "alg", "expires"):
        present = name in results[0].parameters
        assert present == (name in material.get("parameters", "").split()), (name, present)
