-- A script of wrk: goes round the requests of a file, one a line: path, and for a POST a tab and its body.
-- At the end it prints the figures as one line of JSON.

local requests = {}
local last = 0

function init(args)
    for line in io.lines(args[1]) do
        local path, body = line:match("^([^\t]*)\t?(.*)$")
        if body == "" then
            requests[#requests + 1] = wrk.format("GET", path)
        else
            requests[#requests + 1] = wrk.format("POST", path, nil, body)
        end
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        '\n{"requests": %d, "bytes": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
