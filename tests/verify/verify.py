"""Hands one request to the verifier of its kind: exits with 0 if it holds, else says why not.

What goes in, on standard input: {"request": {method, url, headers, body in base64}, "material": {}}.
A verifier is a module KIND.py with `verify(request, material)`, which raises if it does not hold.
"""

import base64
import importlib
import json
import sys

kind = sys.argv[1]
question = json.load(sys.stdin)
request = question["request"]
request["body"] = base64.b64decode(request["body"])
verifier = importlib.import_module(kind)
try:
    verifier.verify(request, question["material"])
except (AttributeError, ImportError, NameError, TypeError):
    raise  # A mistake of the verifier's own is no refusal.
except Exception as error:  # noqa: BLE001: whatever else it is, it was not accepted
    sys.exit(f"refused: {type(error).__name__}: {error}")
