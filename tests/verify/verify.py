"""Hands one request to the verifier of its kind: exits with 0 if it holds, else says why not.

What goes in, on standard input: {"request": {method, url, headers, body in base64}, "material": {}}.
A verifier is a module KIND.py with `verify(request, material)`, which raises if it does not hold.
"""

import sys

# This folder is no place for modules: its hmac.py is not Python's.
folder = sys.path.pop(0)

import base64  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402

kind = sys.argv[1]
question = json.load(sys.stdin)
request = question["request"]
request["body"] = base64.b64decode(request["body"])
spec = importlib.util.spec_from_file_location(f"verifier_of_{kind}", f"{folder}/{kind}.py")
verifier = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verifier)
try:
    verifier.verify(request, question["material"])
except (AttributeError, ImportError, NameError, TypeError):
    raise  # A mistake of the verifier's own is no refusal.
except Exception as error:  # noqa: BLE001: whatever else it is, it was not accepted
    sys.exit(f"refused: {type(error).__name__}: {error}")
