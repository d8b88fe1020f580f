"""Real clients through a node to the official reference server behind it: the Python SDK in both eras, and FastMCP.

The token comes from the node's authorization server; the reference server knows of none. Takes NODE_URL, ISSUER,
CLIENT_ID and CLIENT_SECRET from the environment. Exit code 0 when every step went well.
"""

import asyncio
import os
import sys
import traceback

import fastmcp
import httpx2
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main():
    node_url = os.environ["NODE_URL"]
    answer = requests.post(
        f"{os.environ['ISSUER']}/oauth/token",
        data={"grant_type": "client_credentials", "resource": node_url},
        auth=(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]),
        timeout=30,
    )
    token = answer.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for mode in ("legacy", "auto"):
        print(f"\n== Python SDK, {mode}")
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            async with Client(streamable_http_client(node_url, http_client=http), mode=mode) as client:
                await through_sdk(client)
    print("\n== FastMCP")
    async with fastmcp.Client(node_url, auth=token) as client:
        await through_fastmcp(client)
    return 0


async def through_sdk(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools["everything_echo"].input_schema["properties"]) == {"message"}, tools["everything_echo"]
    tell("tools of the reference server are listed", f"{len(tools)} tools")

    result = await client.call_tool("everything_echo", {"message": "a b é"})
    assert "a b é" in result.content[0].text, result
    result = await client.call_tool("everything_get-structured-content", {"location": "Chicago"})
    assert result.structured_content["temperature"], result
    tell("calls", result.structured_content)

    seen = []

    async def progress(done, total, message):
        seen.append((done, total))

    call = {"duration": 1, "steps": 4}
    await client.call_tool("everything_trigger-long-running-operation", call, progress_callback=progress)
    assert seen == [(step, 4) for step in (1, 2, 3, 4)], seen
    tell("progress arrives in order", seen)

    uri = "everything+demo://resource/dynamic/text/1"
    contents = (await client.read_resource(uri)).contents
    assert str(contents[0].uri) == uri, contents
    tell("a resource by a template", contents[0].text)

    prompt = await client.get_prompt("everything_args-prompt", {"city": "Girona"})
    assert "Girona" in prompt.messages[0].content.text, prompt
    tell("a prompt", prompt.messages[0].content.text)


async def through_fastmcp(client):
    names = [tool.name for tool in await client.list_tools()]
    assert "everything_echo" in names, names
    result = await client.call_tool("everything_echo", {"message": "fast"})
    assert "fast" in result.content[0].text, result
    tell("lists and calls", result.content[0].text)
    prompts = [prompt.name for prompt in await client.list_prompts()]
    assert "everything_simple-prompt" in prompts, prompts
    contents = await client.read_resource("everything+demo://resource/dynamic/text/2")
    tell("reads", contents[0].text)


def tell(step, outcome):
    print(f"ok    {step}: {outcome}")


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Exception:
        traceback.print_exc()
        print("FAIL", file=sys.stderr)
        sys.exit(1)
