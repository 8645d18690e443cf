"""AWS Signature Version 4, computed once more by botocore, which signs for the AWS CLI."""

import datetime
import hashlib
import hmac
import re

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def need(holds, what):
    if not holds:
        raise ValueError(what)


def verify(request, material):
    headers = {}
    for name, value in request["headers"]:
        need(name not in headers, f"{name} twice")
        headers[name] = value
    match = AUTHORIZATION.fullmatch(headers["authorization"])
    need(match, "no such Authorization")
    key_id, day, region, service, names, signature = match.groups()
    date = headers["x-amz-date"]
    need(key_id == material["access_key_id"], "another key")
    need((region, service) == (material["region"], material["service"]), "another scope")
    need(date.startswith(day), "another day")
    at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    age = datetime.datetime.now(datetime.timezone.utc) - at
    need(abs(age) < datetime.timedelta(minutes=5), "too old")
    token = material.get("session_token")
    need(headers.get("x-amz-security-token") == token, "another token")
    need("cookie" not in names.split(";"), "a cookie is signed")

    signed = {name: headers[name] for name in names.split(";") if name in headers}
    due = {name for name in headers if name == "content-type" or name.startswith("x-amz-")}
    need(due <= signed.keys() and "host" in names.split(";"), "a header is not signed")
    digest = hashlib.sha256(request["body"]).hexdigest()
    sent = headers.get("x-amz-content-sha256")
    need(sent in ([digest] if service == "s3" else [None, digest]), "another digest")

    again = AWSRequest(request["method"], request["url"], signed, request["body"])
    again.context["timestamp"] = date
    keys = Credentials(key_id, material["secret_access_key"], token)
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, region)
    text = auth.string_to_sign(again, auth.canonical_request(again))
    need(hmac.compare_digest(auth.signature(text, again), signature), "another signature")
