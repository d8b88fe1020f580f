"""A small MCP server on standard input and output. It knows nothing of OAuth."""

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("garden")
beds = {}


@server.tool()
def water(bed: str, litres: float, context: Context) -> str:
    """Waters a bed."""
    # The node in front of this server says who calls; nobody else can write this.
    caller = context.request_context.meta["edge-hive/caller"]
    beds[bed] = beds.get(bed, 0) + litres
    return f"{bed} has had {beds[bed]} l, now by {caller['client_id']}"


server.run("stdio")
