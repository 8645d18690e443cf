"""Verifies a token as RFC 7519 says, with PyJWT; what binds it to its request, with hashlib."""

import base64
import hashlib

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization

LEEWAY = 60


def verify(request, material):
    token = carried(request["headers"], material["header"], material["prefix"])
    head = jwt.get_unverified_header(token)
    key = material["key"] or shown(head, material)
    claims = jwt.decode(
        token,
        key,
        algorithms=[material["algorithm"]],
        audience=material["audience"],
        issuer="me",
        leeway=LEEWAY,
        options={"require": ["iss", "aud", "exp", "iat", "nbf", "jti"]},
    )
    assert (head["typ"], head["kid"]) == ("JWT", "key-1"), head
    assert claims["exp"] - claims["iat"] == 300, claims
    assert len(base64.urlsafe_b64decode(claims["jti"] + "==")) == 16, claims
    for name, value in material.get("claims", {}).items():
        assert claims[name] == value, (name, claims)
    if material.get("bound"):
        assert claims["htm"] == request["method"], claims
        assert claims["htu"] == request["url"], claims
        assert claims["hash"] == hashlib.sha256(request["body"]).hexdigest(), claims


def carried(headers, name, prefix):
    """The token, which is there once."""
    values = [value for known, value in headers if known.lower() == name]
    assert len(values) == 1, f"{len(values)} headers {name}"
    assert values[0].startswith(prefix), f"{name} has another prefix"
    return values[0][len(prefix) :]


def shown(head, material):
    """The public key of the certificate that the token shows, which is the one that it should."""
    shown = base64.b64decode(head["x5c"][0], validate=True)
    expected = x509.load_pem_x509_certificate(material["certificate"].encode())
    assert shown == expected.public_bytes(serialization.Encoding.DER), "another certificate"
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(shown).digest()).decode().rstrip("=")
    assert head["x5t#S256"] == thumbprint, head
    return expected.public_key()
