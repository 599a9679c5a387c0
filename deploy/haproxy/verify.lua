-- Asks the service about a request: HAProxy has no subrequests of its own.

local ASKED_WITH = { "authorization", "cookie", "origin", "sec-fetch-site", "sec-websocket-key" }
local IDENTITY = { "x-auth-subject", "x-auth-username", "x-auth-roles", "x-auth-scope", "x-auth-session" }
local HANDED_ON = { "www-authenticate", "content-type", "retry-after", "cache-control", "set-cookie" }
local UNDECIDED = '{"error": "temporarily_unavailable", "error_description": "it is not known whether this may pass"}'

-- HAProxy counts the values of a header from 0.
local function listed(values)
  local list = {}
  for at = 0, #values do
    list[#list + 1] = values[at]
  end
  return list
end

local function asked_with(txn)
  local given, headers = txn.http:req_get_headers(), {}
  for _, name in ipairs(ASKED_WITH) do
    if given[name] then
      headers[name] = listed(given[name]) -- all of them: two are a no, and it is the service that says so
    end
  end
  headers["host"] = given["host"] and listed(given["host"]) or nil
  headers["x-forwarded-method"] = { txn.f:method() }
  return headers
end

local function refuse(txn, answer)
  local reply = txn:reply({ status = answer.status, body = answer.body })
  for _, name in ipairs(HANDED_ON) do
    for _, value in ipairs(answer.headers[name] and listed(answer.headers[name]) or {}) do
      reply:add_header(name, value)
    end
  end
  txn:done(reply)
end

local function undecided(txn)
  local reply = txn:reply({ status = 503, body = UNDECIDED })
  reply:add_header("content-type", "application/json")
  reply:add_header("cache-control", "no-store")
  reply:add_header("retry-after", "1")
  txn:done(reply)
end

-- http-request lua.verify URL: sets the identity and txn.verified, or ends the request.
core.register_action("verify", { "http-req" }, function(txn, url)
  local answer = core.httpclient():get({ url = url, headers = asked_with(txn), timeout = 5000 })
  if answer.status == 401 or answer.status == 403 then
    return refuse(txn, answer)
  end
  if answer.status ~= 200 then
    return undecided(txn)
  end
  for _, name in ipairs(IDENTITY) do
    if answer.headers[name] == nil then -- this is not the service
      return undecided(txn)
    end
  end
  for _, name in ipairs(IDENTITY) do
    txn.http:req_set_header(name, answer.headers[name][0])
  end
  txn:set_var("txn.verified", true)
end, 1)
