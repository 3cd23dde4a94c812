-- Two real machines, each with a kernel of its own. Start with:  provium run docs/examples/two-nodes.test.lua

local a = provium:vm("a", "default")
local b = provium:vm("b", "default", { memory = "192M" })
provium:boot() -- both at once

test("each node runs commands", function(t)
    t:assert_eq(a:run("hostname").stdout, "a\n")
    t:assert_eq(b:run("hostname").stdout, "b\n")
end)

test("files go in and out", function(t)
    a:write_file("/etc/motd", "hello from the test\n")
    local motd = a:run("cat /etc/motd"):assert_ok().stdout
    b:write_file("/tmp/motd", motd)
    t:assert_eq(b:read_file("/tmp/motd"), "hello from the test\n")
end)

test("a command that fails is a result, not an accident", function(t)
    local r = a:run("ls /nowhere")
    t:assert(not r:ok())
    t:assert_contains(r.stderr, "No such file")
end)

test("a machine can stand still", function(t)
    b:pause()
    t:assert_eq(b:state(), "paused")
    b:resume()
    b:run("true"):assert_ok()
end)

test("a machine of the test's own ends with the test", function(t)
    b:shutdown() -- its memory and vCPU go back to the pool of the run
    local c = provium:vm("c", "default"):boot()
    t:log(c:run("uname -r"):assert_ok().stdout)
end)
