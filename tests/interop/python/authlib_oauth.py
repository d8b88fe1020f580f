"""Authlib's OAuth2Session: code with PKCE through the real pages, a call at the node, refresh, revocation.

Takes NODE_URL, ISSUER, PUBLIC_CLIENT_ID, PERSON and PASSWORD from the environment. Exit code 0 when every step went well.
"""

import os
import sys
import traceback

# Plain http is what the programs speak on the loopback.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.base_client.errors import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402

from person import Listener  # noqa: E402

CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "get_status",
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "edge-hive-interop", "version": "0.1.0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "get_status",
}


def main():
    node_url, issuer = os.environ["NODE_URL"], os.environ["ISSUER"]
    listener = Listener()
    session = OAuth2Session(
        os.environ["PUBLIC_CLIENT_ID"],
        scope="mcp:read mcp:call",
        redirect_uri=listener.redirect_uri,
        token_endpoint_auth_method="none",
        revocation_endpoint_auth_method="none",
        code_challenge_method="S256",
    )
    server = session.get(f"{issuer}/.well-known/oauth-authorization-server", withhold_token=True).json()
    assert server["issuer"] == issuer, server
    tell("discovery", server["authorization_endpoint"])

    verifier = generate_token(48)
    url, state = session.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, resource=node_url
    )
    back = listener.visit(url)
    tell("authorization in the browser", "allowed")
    token = session.fetch_token(
        server["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier
    )
    assert token["token_type"] == "Bearer" and token["refresh_token"], "no refresh token"
    tell("code", f"scope {token['scope']}, {token['expires_in']} s")

    call(session, node_url)
    before = token["refresh_token"]
    token = session.refresh_token(server["token_endpoint"], refresh_token=before)
    assert token["refresh_token"] != before
    tell("refresh", "the refresh token was replaced")
    call(session, node_url)

    answer = session.revoke_token(server["revocation_endpoint"], token=token["refresh_token"])
    assert answer.status_code == 200, answer
    try:
        session.refresh_token(server["token_endpoint"], refresh_token=token["refresh_token"])
    except OAuthError as error:
        assert error.error == "invalid_grant", error
        tell("revocation ends it", error.error)
    else:
        raise AssertionError("a revoked refresh token still works")
    listener.close()
    return 0


def call(session, node_url):
    answer = session.post(node_url, json=CALL, headers=HEADERS)
    assert answer.status_code == 200, (answer.status_code, answer.text)
    tell("tools/call get_status", answer.text[:120].replace("\n", " "))


def tell(step, outcome):
    print(f"ok    {step}: {outcome}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        print("FAIL", file=sys.stderr)
        sys.exit(1)
