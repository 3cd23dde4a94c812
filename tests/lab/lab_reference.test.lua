-- The reference page of Lab, example by example, on real VMs: membership, scopes, batches, barriers. Its bridge is that of dc1; the bridge of the page of
-- snapshots, with a lab fixture, is in integration/networks/cluster.sh.

local dc1 = provium:lab("dc1")
dc1:vm("a", "default")
dc1:vm("b", "default", { memory = "128M" })
dc1:bridge("lan"):attach({ dc1.a, dc1.b })
provium:vm("shared", "default")

provium:depends_on_file("lab_reference.test.lua")

test("a lab lists what it holds, in the order of declaration", function(t)
    t:assert_eq(json.encode(dc1:members()), '[{"kind":"vm","name":"a"},{"kind":"vm","name":"b"},{"kind":"bridge","name":"lan"}]')
    t:assert_eq(table.concat(dc1:vm_names(), " "), "a b")
    t:assert_eq(dc1.a, dc1:vm("a"))
    t:assert_eq(provium.dc1, dc1)
    t:assert_eq(dc1.none, nil)
    t:assert_eq(dc1:name(), "dc1")
    t:assert_eq(provium:name(), "provium")
end)

test("a batch boots, pauses, resumes and ends the direct VMs alone", function(t)
    local inner = dc1:lab()
    t:assert_eq(inner:name(), "__lab_0")
    local left = inner:vm("x", "default")
    t:assert_eq(dc1:boot(), dc1)
    t:assert_eq(dc1.a:run("hostname").stdout, "a\n")
    t:assert_eq(dc1.b:run("hostname").stdout, "b\n")
    t:assert_eq(left:state(), "created")
    dc1.a:run("ping -c 1 b.lan"):assert_ok()
    dc1.b:run("ping -c 1 a.lan"):assert_ok()
    dc1:boot() -- both are up
    dc1:pause()
    t:assert_eq(dc1.a:state() .. dc1.b:state(), "pausedpaused")
    t:assert_contains(t:assert_raises(function() dc1:pause() end), "paused")
    dc1:resume()
    dc1.b:pause()
    t:assert_contains(t:assert_raises(function() dc1:pause() end), '"b" is paused')
    t:assert_eq(dc1.a:state(), "booted")
    dc1.b:resume()
    dc1:remove(inner)
end)

test("one VM is in two labs, and removing it does not end it", function(t)
    local view = provium:lab("view")
    view:include({ dc1.a, dc1.lan })
    t:assert_eq(view.a, dc1.a)
    dc1:remove("a")
    t:assert_eq(dc1.a, nil)
    t:assert_eq(view.a:run("hostname").stdout, "a\n")
    dc1:include(view.a)
    t:assert_contains(t:assert_raises(function() dc1:include(view.a) end), "DuplicateVmName")
end)

test("the VM outlives the scope that held it too", function(t)
    t:assert_eq(dc1.a:state(), "booted")
    t:assert_eq(dc1.a:run("hostname").stdout, "a\n")
end)

local first

test("what a test makes is gone with it", function(t)
    first = provium:vm("own", "default"):boot()
    t:assert_eq(provium:vm("shared"), provium.shared)
    t:assert_contains(t:assert_raises(function() provium:vm("shared", "default") end), "already declared at parent scope")
    t:assert_eq(#provium:members(), 1)
end)

test("and the same name is another VM", function(t)
    t:assert_eq(provium.own, nil)
    local own = provium:vm("own", "default")
    t:assert(own ~= first)
    t:assert_contains(t:assert_raises(function() first:run("true") end), "gone")
end)

test("one that cannot boot is named, the others stay up", function(t)
    provium:vm("good", "default")
    provium:vm("greedy", "default", { kernel_cmdline = "console=ttyS0 panic=-1 rdinit=/nonexistent init=/nonexistent" })
    local err = t:assert_raises(function() provium:boot() end)
    t:assert_contains(err, "greedy")
    t:assert(not err:find("good:", 1, true))
    t:assert_eq(provium.good:state(), "booted")
    t:assert_eq(provium.greedy:state(), "dead")
end)

test("two tasks meet at a barrier", function(t)
    local a, b = dc1.a, dc1.b
    local log = {}
    local w1 = co.wrap(function() a:run("sleep 0.3") log[#log + 1] = "a" provium:barrier("ready", 2) a:run("true") end)()
    local w2 = co.wrap(function() log[#log + 1] = "b" provium:barrier("ready", 2) log[#log + 1] = "met" b:run("true") end)()
    w1:join()
    w2:join()
    t:assert_eq(table.concat(log, " "), "b a met")
end)

test("two workers of one VM meet at a barrier", function(t)
    local vm = dc1.a
    local w1, w2 = vm:spawn_worker(), vm:spawn_worker()
    local seen = {}
    co.wrap(function()
        w1:run("echo one >/tmp/one"):assert_ok()
        provium:barrier("ready", 2)
        seen[1] = w1:run("cat /tmp/two").stdout
    end)()
    local second = co.wrap(function()
        w2:run("echo two >/tmp/two"):assert_ok()
        provium:barrier("ready", 2)
        seen[2] = w2:run("cat /tmp/one").stdout
    end)()
    second:join()
    wait_until(function() return seen[1] and seen[2] end)
    t:assert_eq(seen[1] .. seen[2], "two\none\n")
end)

test("two plain coroutines started in turn meet too", function(t)
    local a, b = dc1.a, dc1.b
    local done = 0
    coroutine.wrap(function() a:run("true") provium:barrier("ready", 2) a:run("true") done = done + 1 end)()
    coroutine.wrap(function() b:run("true") provium:barrier("ready", 2) b:run("true") done = done + 1 end)()
    wait_until(function() return done == 2 end)
end)

test("a barrier that nobody else reaches says who came", function(t)
    local err = t:assert_raises(function() provium:barrier("alone", 2, 0.2) end)
    t:assert_contains(err, '"alone": only 1 of 2 had arrived within 0.2s: task ')
    t:assert_contains(err, "lab_reference.test.lua:")
end)

test("bytes are packed and unpacked", function(t)
    t:assert_eq(provium:unpack("<I4", provium.pack("<I4", 0xCAFE)), 0xCAFE)
end)

test("shutdown ends the direct VMs", function(t)
    dc1:shutdown()
    t:assert_eq(dc1.a:state() .. dc1.b:state(), "shutdownshutdown")
    dc1:shutdown()
end)
