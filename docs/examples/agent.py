"""An agent that knows a node's address and its own credentials: discovery, client_credentials, a tool call.

pip install mcp httpx2; then CLIENT_ID=… CLIENT_SECRET=… python3 agent.py http://localhost:8080/mcp get_status
"""

import asyncio
import json
import os
import sys
from urllib.parse import urlsplit

import httpx2
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client


class Memory:
    """Where the SDK keeps the token; a long-lived agent keeps it in a file that only it can read."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def issuer_of(node):
    """The authorization server that the node names (RFC 9728)."""
    url = urlsplit(node)
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{url.scheme}://{url.netloc}/.well-known/oauth-protected-resource{url.path}")
    metadata = answer.raise_for_status().json()
    if metadata["resource"] != node:
        raise ValueError(f"the metadata is about {metadata['resource']}")
    return metadata["authorization_servers"][0]


async def main(node, tool, arguments="{}"):
    issuer = await issuer_of(node)
    # Your secret goes to the server that you have it from, whatever a node says.
    if issuer != os.environ.get("ISSUER", "http://localhost:9000"):
        raise ValueError(f"the node wants tokens of {issuer}")
    auth = ClientCredentialsOAuthProvider(
        server_url=node,
        storage=Memory(),
        client_id=os.environ["CLIENT_ID"],
        client_secret=os.environ["CLIENT_SECRET"],
        issuer=issuer,
    )
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        async with Client(streamable_http_client(node, http_client=http)) as client:
            result = await client.call_tool(tool, json.loads(arguments))
            print(result.content[0].text)


asyncio.run(main(*sys.argv[1:]))
