-- provium.reset_between_tests: each test finds the lab as the chunk left it.
provium.reset_between_tests = true

local a = provium:vm("a", "default", { memory = "128M" }):boot()
local b = provium:lab("sub"):vm("b", "default", { memory = "128M" })
a:write_file("/tmp/x", "clean")
local beside = {} -- what Lua has is not reset

test("one leaves a mess", function(t)
    a:write_file("/tmp/x", "dirty")
    b:boot()
    beside.one = true
    provium:vm("mine", "default", { memory = "128M" })
end)

test("two finds none of it", function(t)
    t:assert_eq(a:read_file("/tmp/x"), "clean")
    t:assert_eq(b:state(), "shutdown")
    t:assert(beside.one)
    a:shutdown()
end)

test("three finds its VM up again", function(t)
    t:assert_eq(a:state(), "booted")
    t:assert_eq(a:read_file("/tmp/x"), "clean")
    pcall(a.run, a, "poweroff -f") -- which ends with the guest
    wait_until(function() return a:state() == "shutdown" end)
end)

test("four, too, after a guest that has powered itself off", function(t)
    t:assert_eq(a:read_file("/tmp/x"), "clean")
end)
