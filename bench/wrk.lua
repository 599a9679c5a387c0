-- Sends the lines of a file as bodies, or as bearer tokens where the content type is `bearer`, in random order, and
-- prints what came of it as one line of JSON.
-- wrk … -s wrk.lua URL -- FILE AUTHORIZATION CONTENT-TYPE SEED DELAY-MS
local bodies, head = {}, nil

function init(args)
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = line
  end
  math.randomseed(tonumber(args[4]))
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: " .. args[2]
    .. "\r\nContent-Type: " .. args[3] .. "\r\nContent-Length: "
  if args[3] == "bearer" then
    head = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "
    function request()
      return head .. bodies[math.random(#bodies)] .. "\r\n\r\n"
    end
  end
  local pause = tonumber(args[5])
  if pause > 0 then
    function delay()
      return math.random(0, 2 * pause)
    end
  end
end

function request()
  local body = bodies[math.random(#bodies)]
  return head .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "not_2xx": %d, "failed": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
