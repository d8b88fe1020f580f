"""The official Python SDK with its OAuthClientProvider: discovery, code with PKCE through the real pages, refresh.

Takes NODE_URL, PUBLIC_CLIENT_ID, PERSON and PASSWORD from the environment. Exit code 0 when every step went well.
"""

import asyncio
import os
import sys
import traceback
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

from person import Listener


class Memory:
    """Where the SDK keeps what it was given; the client was registered by the operator."""

    def __init__(self, redirect_uri):
        self.tokens = None
        self.client = OAuthClientInformationFull(
            client_id=os.environ["PUBLIC_CLIENT_ID"],
            redirect_uris=[redirect_uri],
            token_endpoint_auth_method="none",
        )

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def main():
    for mode in ("legacy", "auto"):
        await use_node(os.environ["NODE_URL"], mode)
    return 0


async def use_node(node_url, mode):
    print(f"\n== {mode}")
    listener = Listener()
    memory = Memory(listener.redirect_uri)
    visits = []

    async def open_browser(url):
        visits.append(url)

    async def come_back():
        back = await asyncio.to_thread(listener.visit, visits[-1])
        query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))

    auth = OAuthClientProvider(
        server_url=node_url,
        client_metadata=OAuthClientMetadata(
            client_name="interop", redirect_uris=[listener.redirect_uri], token_endpoint_auth_method="none"
        ),
        storage=memory,
        redirect_handler=open_browser,
        callback_handler=come_back,
    )

    async def tell_request(answer):
        print(f"        {answer.request.method} {answer.request.url.copy_with(query=None)} {answer.status_code}")

    async with httpx2.AsyncClient(auth=auth, timeout=90, event_hooks={"response": [tell_request]}) as http:
        async with Client(streamable_http_client(node_url, http_client=http), mode=mode) as client:
            assert len(visits) == 1, visits
            assert memory.tokens.refresh_token
            tell("connect: challenge, discovery, browser, code", f"revision {client.protocol_version}")
            names = [tool.name for tool in (await client.list_tools()).tools]
            tell("tools/list", ", ".join(names))
            result = await client.call_tool("get_status", {})
            assert not result.is_error, result
            tell("tools/call get_status", f"scope {memory.tokens.scope}, visits {len(visits)}")

            before, visited = memory.tokens.refresh_token, len(visits)
            # As after the access token's lifetime.
            auth.context.token_expiry_time = 1
            result = await client.call_tool("get_status", {})
            assert not result.is_error, result
            assert memory.tokens.refresh_token != before, "the refresh token was not replaced"
            assert len(visits) == visited, "the person was asked again"
            tell("refresh without the person", "the refresh token was replaced")
    listener.close()


def tell(step, outcome):
    print(f"ok    {step}: {outcome}")


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Exception:
        traceback.print_exc()
        print("FAIL", file=sys.stderr)
        sys.exit(1)
