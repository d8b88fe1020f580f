"""The official Python SDK, as a program that knows the node's URL and its own credentials.

Both eras: `initialize` (2025-11-25 and older) with `client_secret_basic`, and 2026-07-28 with `client_secret_post`. The
client is given no scope and no token: it follows the node's challenges to the authorization server by itself.

Takes NODE_URL, CLIENT_ID and CLIENT_SECRET from the environment. Exit code 0 when every step went well.
"""

import asyncio
import os
import sys
import traceback
from urllib.parse import urlsplit

import httpx2
from mcp import Client, MCPError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

STATUS = "edge-hive://status"


class Memory:
    """Where the SDK keeps what it was given."""

    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def main():
    missing = [name for name in ("NODE_URL", "CLIENT_ID", "CLIENT_SECRET") if not os.environ.get(name)]
    if missing:
        print(f"missing in the environment: {', '.join(missing)}", file=sys.stderr)
        return 2
    node_url = os.environ["NODE_URL"]
    issuer = await discover_issuer(node_url)
    tell("discover the issuer from the node", issuer)
    await use_node(node_url, issuer, "legacy", "client_secret_basic")
    await use_node(node_url, issuer, "auto", "client_secret_post")
    return 0


async def discover_issuer(node_url):
    url = urlsplit(node_url)
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{url.scheme}://{url.netloc}/.well-known/oauth-protected-resource{url.path}")
    answer.raise_for_status()
    metadata = answer.json()
    assert metadata["resource"] == node_url, metadata
    return metadata["authorization_servers"][0]


async def use_node(node_url, issuer, mode, auth_method):
    print(f"\n== {mode}, {auth_method}")
    requests = []

    async def tell_request(answer):
        requests.append(f"{answer.request.method} {answer.request.url} {answer.status_code}")
        print(f"        {requests[-1]}")

    memory = Memory()
    auth = ClientCredentialsOAuthProvider(
        server_url=node_url,
        storage=memory,
        client_id=os.environ["CLIENT_ID"],
        client_secret=os.environ["CLIENT_SECRET"],
        token_endpoint_auth_method=auth_method,
        issuer=issuer,
    )
    async with httpx2.AsyncClient(auth=auth, timeout=30, event_hooks={"response": [tell_request]}) as http:
        async with Client(streamable_http_client(node_url, http_client=http), mode=mode) as client:
            version = client.protocol_version
            assert (version <= "2025-11-25") if mode == "legacy" else (version == "2026-07-28"), version
            assert memory.tokens and memory.tokens.access_token
            tell("connect: challenge, discovery, token, first request", f"revision {version}")
            await call_everything(client)


async def call_everything(client):
    names = [tool.name for tool in (await client.list_tools()).tools]
    assert "get_status" in names, names
    tell("tools/list", ", ".join(names))

    result = await client.call_tool("get_status", {})
    assert not result.is_error, result
    assert result.structured_content or result.content
    tell("tools/call get_status", str(result.structured_content or result.content)[:160])

    contents = (await client.read_resource(STATUS)).contents
    assert [str(content.uri) for content in contents] == [STATUS], contents
    assert contents[0].text
    tell(f"resources/read {STATUS}", contents[0].text[:160])

    try:
        refused = await client.call_tool("no_such_tool", {})
    except MCPError as error:
        assert error.error.code == -32602, error
        tell("an unknown tool is refused", error.error.message)
    else:
        raise AssertionError(f"an unknown tool was called: {refused}")


def tell(step, outcome):
    print(f"ok    {step}: {outcome}")


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Exception:
        traceback.print_exc()
        print("FAIL", file=sys.stderr)
        sys.exit(1)
