-- Sends the lines of a file as bodies, or as bearer tokens where the content type is `bearer`, and prints what came of
-- it as one line of JSON.
-- wrk … -s wrk.lua URL -- FILE AUTHORIZATION CONTENT-TYPE SEED DELAY-MS CHOICE CONNECTIONS IDS
-- CHOICE: `uniform`, `zipf` (line n is chosen in proportion to 1/n), or `once` (each line in turn, then wrk ends).
-- wrk calls `request` once before it starts and does not send the result. So `once` leaves the first line out.
-- IDS: with `ids`, each request has an `x-request-id` and a `traceparent` of its own.
local ffi = require("ffi")
ffi.cdef("int kill(int pid, int signal); int getpid(void);")
local SIGINT = 2
local lines, sent, choose = {}, 0, {}
local connections, silent = 0, 0

function choose.uniform()
  return math.random(#lines)
end

function choose.zipf()
  return math.floor((#lines) ^ math.random())
end

function choose.once()
  if sent == #lines then
    -- This connection has its last answer. The last connection ends the thread, and the sleep of wrk's main thread.
    silent = silent + 1
    if silent == connections then
      wrk.thread:stop()
      ffi.C.kill(ffi.C.getpid(), SIGINT)
    end
    return nil
  end
  sent = sent + 1
  return sent
end

local function ids()
  local a, b = math.random(0, 0x7fffffff), math.random(0, 0x7fffffff)
  return string.format(
    "X-Request-Id: %08x%08x\r\nTraceparent: 00-%08x%08x%08x%08x-%08x%08x-01\r\n", a, b, a, b, b, a, b, a)
end

local function none()
  return ""
end

function init(args)
  for line in io.lines(args[1]) do
    lines[#lines + 1] = line
  end
  math.randomseed(tonumber(args[4]))
  local chosen, more = choose[args[6]], args[8] == "ids" and ids or none
  connections = tonumber(args[7])
  local head = " " .. wrk.path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "
  local whole
  if args[3] == "bearer" then
    head = "GET" .. head .. "Bearer "
    function whole(token)
      return head .. token .. "\r\n" .. more() .. "\r\n"
    end
  else
    head = "POST" .. head .. args[2] .. "\r\nContent-Type: " .. args[3] .. "\r\n"
    function whole(body)
      return head .. more() .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
    end
  end
  function request()
    local at = chosen()
    return at and whole(lines[at]) or ""
  end
  local pause = tonumber(args[5])
  if pause > 0 then
    function delay()
      return math.random(0, 2 * pause)
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "not_2xx": %d, "failed": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
