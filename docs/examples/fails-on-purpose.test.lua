-- One test here fails, to show what a failure looks like: in the report, and in the journal afterwards.

local vm = provium:vm("node", "default"):boot()

test("the kernel is there", function(t)
    vm:run("test -d /proc/sys/kernel"):assert_ok()
end)

test("a service that nobody installed", function(t)
    vm:write_file("/tmp/config", "port = 8080\n")
    local r = vm:run("my-service --config /tmp/config")
    t:log("the service said: " .. r.stderr)
    r:assert_ok()
end)
