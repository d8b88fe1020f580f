"""What an operator's requests have besides what the document says: a token that counts, and a new key each time.

Some requests end the token with which they are sent, when they rotate the keys as compromised for example; then
Schemathesis asks here for another. The client that asks for it is left alone.
"""

import base64
import json
import os
import urllib.request
import uuid

import schemathesis

ISSUER, CLIENT_ID, CLIENT_SECRET = (os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET"))


@schemathesis.auth()
class Operator:
    def get(self, case, context):
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        form = f"grant_type=client_credentials&resource={ISSUER}/admin/v1".encode()
        request = urllib.request.Request(f"{ISSUER}/oauth/token", form, {"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    return CLIENT_ID not in (path_parameters or {}).values()


@schemathesis.hook
def before_call(context, case, kwargs):
    # Every creation is one of its own, unless the key itself is what is tried.
    key = case.headers.get("Idempotency-Key")
    if key and len(key) < 256 and key.isascii() and key.isprintable() and " " not in key:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
