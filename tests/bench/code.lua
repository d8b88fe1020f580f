-- Public clients that the testing door approves, each as its own person. ROW is `code`: authorization request, code,
-- tokens, again and again, the clients taking turns; or `refresh`: tokens once, then refreshed again and again, each time
-- with the newest refresh token, and of the first client alone, because an answer does not say whose it is.
-- AUTHORIZE has the path of an authorization request on each line; its `state` is the number of the line, and the redirect
-- repeats it. REDEEM has forms, RENEW is one; they lack only their last value.
dofile(os.getenv("BENCH") .. "/report.lua")

local refreshes = os.getenv("ROW") == "refresh"
if not refreshes then
  requests_per_answer = 2
end

local function lines(name)
  local found = {}
  for line in os.getenv(name):gmatch("[^\n]+") do
    found[#found + 1] = line
  end
  return found
end

local authorize, redeem, renew = lines("AUTHORIZE"), lines("REDEEM"), os.getenv("RENEW")
local clients = refreshes and 1 or #authorize
local turn = 0

-- Codes wait with the number of their client.
local codes, tokens = {}, {}

local function give_up(what)
  io.stderr:write(what .. "\n")
  os.exit(1)
end

local function post(form)
  return wrk.format("POST", "/oauth/token", { ["Content-Type"] = "application/x-www-form-urlencoded" }, form)
end

function request()
  if #tokens > 0 then
    return post(renew .. table.remove(tokens))
  end
  if #codes > 0 then
    local code = table.remove(codes)
    return post(redeem[code.client] .. code.text)
  end
  turn = turn % clients + 1
  return wrk.format("GET", authorize[turn])
end

function response(status, headers, body)
  if status == 303 then
    local location = headers["location"] or headers["Location"] or ""
    local text, state = location:match("[?&]code=([%w_-]+)"), location:match("[?&]state=(%d+)")
    if not (text and state) then
      give_up("a redirect without a code")
    end
    codes[#codes + 1] = { text = text, client = tonumber(state) }
  elseif status ~= 200 then
    give_up("HTTP " .. status .. " " .. body)
  elseif refreshes then
    tokens[#tokens + 1] = body:match('"refresh_token":"([%w_-]+)"') or give_up("no refresh token")
  end
end
