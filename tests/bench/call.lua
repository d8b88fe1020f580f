-- tools/call of one tool. ERA is `modern` (2026-07-28, stateless) or `legacy` (2025-11-25). With one warm token, or with
-- each of those in the file TOKENS once: where there are no more, the answers are 401 and fail the row.
dofile(os.getenv("BENCH") .. "/report.lua")

local revision = "2026-07-28"
local envelope = ""
if os.getenv("ERA") == "legacy" then
  revision = "2025-11-25"
else
  wrk.headers["Mcp-Method"] = "tools/call"
  wrk.headers["Mcp-Name"] = os.getenv("TOOL")
  envelope = ',"_meta":{"io.modelcontextprotocol/protocolVersion":"' .. revision .. '",'
    .. '"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},'
    .. '"io.modelcontextprotocol/clientCapabilities":{}}'
end

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = revision
wrk.headers["Authorization"] = os.getenv("AUTHORIZATION")
wrk.body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"' .. os.getenv("TOOL")
  .. '","arguments":{}' .. envelope .. '}}'

local tokens = os.getenv("TOKENS") and io.lines(os.getenv("TOKENS"))

if tokens then
  function request()
    wrk.headers["Authorization"] = "Bearer " .. (tokens and tokens() or "none left")
    return wrk.format()
  end
end
