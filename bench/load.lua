-- B1: each connection creates a payment, then captures it; every request has a fresh key.
-- The yardstick's loop against our routes; but its single slot for an id loses those that come in
-- a burst, so fewer payments are captured than made. Arguments: API key, number of users.
local created, sent = {}, 0
local headers, users

function init(arguments)
  math.randomseed(os.time())
  headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. arguments[1]}
  users = tonumber(arguments[2])
end

function request()
  sent = sent + 1
  headers["Idempotency-Key"] = tostring(math.random(1, 1e15)) .. "-" .. sent
  local id = table.remove(created)
  if id then
    return wrk.format("POST", "/v1/payments/" .. id .. "/capture", headers, "{}")
  end
  local body = string.format(
    '{"user_id":"00000000-0000-7000-8000-%012x","amount_minor":1000,"currency":"USD"}',
    math.random(1, users))
  return wrk.format("POST", "/v1/payments", headers, body)
end

function response(status, _, body)
  if status == 201 then
    created[#created + 1] = string.match(body, '"id":"([^"]+)"')
  elseif status ~= 200 then
    print("wrong: " .. status .. " " .. body)
  end
end
