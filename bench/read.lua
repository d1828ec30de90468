-- B2: reads one of many payments. Arguments: API key, a file with an id a line.
local ids = {}

function init(arguments)
  math.randomseed(os.time())
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  for id in io.lines(arguments[2]) do ids[#ids + 1] = id end
end

function request()
  return wrk.format("GET", "/v1/payments/" .. ids[math.random(#ids)])
end
