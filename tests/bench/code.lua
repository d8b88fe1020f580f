-- A public client that the testing door approves. ROW is `code`: authorization request, code, tokens, again and again;
-- or `refresh`: tokens once, then refreshed again and again, each time with the newest refresh token.
-- AUTHORIZE is the path of the authorization request; REDEEM and RENEW are forms that lack only their last value.
dofile(os.getenv("BENCH") .. "/report.lua")

local refreshes = os.getenv("ROW") == "refresh"
if not refreshes then
  requests_per_answer = 2
end

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
    return post(os.getenv("RENEW") .. table.remove(tokens))
  end
  if #codes > 0 then
    return post(os.getenv("REDEEM") .. table.remove(codes))
  end
  return wrk.format("GET", os.getenv("AUTHORIZE"))
end

function response(status, headers, body)
  if status == 303 then
    local code = (headers["location"] or headers["Location"] or ""):match("[?&]code=([%w_-]+)")
    codes[#codes + 1] = code or give_up("a redirect without a code")
  elseif status ~= 200 then
    give_up("HTTP " .. status .. " " .. body)
  elseif refreshes then
    tokens[#tokens + 1] = body:match('"refresh_token":"([%w_-]+)"') or give_up("no refresh token")
  end
end
