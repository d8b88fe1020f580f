-- token.lua that keeps the tokens: one per line, at the end of the file TOKENS.
dofile(os.getenv("BENCH") .. "/token.lua")

local file

function response(status, headers, body)
  file = file or io.open(os.getenv("TOKENS"), "a")
  local token = body:match('"access_token":"([^"]+)"')
  if token then
    file:write(token, "\n")
  end
end
