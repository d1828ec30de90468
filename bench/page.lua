-- B9: reads one page of a list again and again. Arguments: API key, path with its query.
local path

function init(arguments)
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  path = arguments[2]
end

function request()
  return wrk.format("GET", path)
end

function response(status, _, body)
  if status ~= 200 then
    print("wrong: " .. status .. " " .. body)
  end
end
