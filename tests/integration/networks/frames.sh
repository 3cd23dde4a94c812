# Frames that wait in a bridge when its lab is saved: they arrive in the lab that goes on, and again, each once and in order, in each lab that is restored
# from it; a reset between tests brings those of its point back, and none of the test before.
. "$(dirname "$0")/../../lib/harness.sh"
profile 'accel = "tcg"' 'memory = "128M"'
cat >lib.lua <<'LUA'
local M = {}
-- Of the guest: echo requests it has got ("InType8") or sent ("OutType8").
function M.echoes(vm, kind)
    local names, values = vm:run("grep ^IcmpMsg: /proc/net/snmp").stdout:match("([^\n]*)\n([^\n]*)")
    local value = (values or ""):gmatch("%S+")
    for name in (names or ""):gmatch("%S+") do
        local number = value()
        if name == kind then return tonumber(number) end
    end
    return 0
end
-- Pings of which b has seen none when this returns, and will see none for a while.
function M.send(a, count, file)
    local before = M.echoes(a, "OutType8")
    a:run("ping -c " .. count .. " -i 0.1 -W 60 b.lan >" .. file .. " 2>&1 &"):assert_ok()
    wait_until(function() return M.echoes(a, "OutType8") == before + count end, { timeout = "20s" })
end
function M.send_slowly(a, lan, b)
    a:run("ping -c 1 b.lan"):assert_ok() -- each knows where the other is
    lan:add_latency({ from = a, to = b, ms = 3000 })
    M.send(a, 5, "/tmp/pings")
end
-- The guests' own view: all came, each once, in order, and none at once: guests and bridges stop and go on one after the other, so the time is not exact.
function M.expect(t, lab)
    lab.a:run("while ! grep -q packets /tmp/pings; do sleep 0.05; done", { timeout = 60 }):assert_ok()
    local text = lab.a:read_file("/tmp/pings")
    local order = {}
    for seq, ms in text:gmatch("seq=(%d+) ttl=%d+ time=([%d.]+)") do
        order[#order + 1] = seq
        t:assert(tonumber(ms) >= 2000, text)
    end
    t:assert_eq(table.concat(order, " "), "0 1 2 3 4", text)
    t:assert_eq(text:find("DUP"), nil, text)
end
return M
LUA
cat >waiting.fixture.lua <<'LUA'
local lib = require("lib")
local lan = provium:bridge("lan")
local a, b = provium:vm("a", "default"), provium:vm("b", "default")
lan:attach({ a, b })
provium:boot()
lib.send_slowly(a, lan, b)
return provium:snapshot()
LUA
cat >a.test.lua <<'LUA'
local lib = require("lib")
test("a lab and its copies", function(t)
    local lab = provium:lab("one")
    local lan = lab:bridge("lan")
    lan:attach({ lab:vm("a", "default"), lab:vm("b", "default") })
    lab:boot()
    lib.send_slowly(lab.a, lan, lab.b)
    local snapshot = lab:snapshot()
    t:assert(io.open(snapshot:path() .. "/lan.frames"))
    lib.expect(t, lab)
    t:assert_eq(lib.echoes(lab.b, "InType8"), 6)
    lab:restore(snapshot)
    lib.expect(t, lab)
    t:assert_eq(lib.echoes(lab.b, "InType8"), 6)
    lab:shutdown()
    local two = provium:lab("two")
    two:restore(snapshot)
    lib.expect(t, two)
    two.a:run("ping -c 1 b.lan"):assert_ok()
    t:assert_eq(lib.echoes(two.b, "InType8"), 7)
end)
test("a fixture", function(t)
    lib.expect(t, provium:lab_fixture("waiting"))
end)
LUA
cat >b.test.lua <<'LUA'
local lib = require("lib")
provium.reset_between_tests = true
local lan = provium:bridge("lan")
local a, b = provium:vm("a", "default"), provium:vm("b", "default")
lan:attach({ a, b })
provium:boot()
lib.send_slowly(a, lan, b)
test("one", function(t)
    lib.expect(t, provium)
    t:assert_eq(lib.echoes(b, "InType8"), 6)
    lib.send(a, 3, "/dev/null")
end)
test("two", function(t)
    lib.expect(t, provium)
    t:assert_eq(lib.echoes(b, "InType8"), 6)
end)
LUA
expect 0 "$provium" run --cpus 16 --psi-threshold 0 --journal=run .
says out '4 passed'
"$provium" journal show run >shown
says shown 'frames: time stops'
says shown 'lan.frames'
passed
