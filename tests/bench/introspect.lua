-- Introspection of many tokens in turn: one per line in the file TOKENS.
dofile(os.getenv("BENCH") .. "/report.lua")

local prepared, turn = {}, 0

function init(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  wrk.headers["Authorization"] = os.getenv("AUTHORIZATION")
  for token in io.lines(os.getenv("TOKENS")) do
    prepared[#prepared + 1] = wrk.format(nil, nil, nil, "token=" .. token)
  end
end

function request()
  turn = turn % #prepared + 1
  return prepared[turn]
end
