# A guest that does to its network what it can: frames of wrong sizes, a flood, addresses of others, more addresses than the switch keeps. Its
# neighbours go on, the runner answers and does not grow. (Frames below 14 bytes no kernel sends for a program; test_net has them.)
. "$(dirname "$0")/../../lib/harness.sh"
profile 'memory = "128M"'
cat >a.test.lua <<'LUA'
provium.timeout = "200s"
local lan = provium:bridge("lan")
local a, b, h = provium:vm("a", "default"), provium:vm("b", "default"), provium:vm("h", "default")
lan:attach({ a, b, h })
provium:boot()
h:run("ip link set eth0 mtu 9000"):assert_ok()
for _, vm in ipairs({ b, h }) do
    vm:push_file(os.getenv("PV_TEST_BIN") .. "/wire_tool", "/tmp/wire_tool")
    vm:run("chmod 755 /tmp/wire_tool"):assert_ok()
end

local function mac(vm) return (vm:read_file("/sys/class/net/eth0/address"):gsub("%s", "")) end
local broadcast, nobody = "ff:ff:ff:ff:ff:ff", "02:98:00:00:00:01"

local function frames(to, from, bytes, count)
    return ("/tmp/wire_tool frames eth0 %s %s %d %d"):format(to, from, bytes, count)
end

local function each_frame(capture)
    local bytes, at = table.concat(capture:drain(1)), 25
    return function()
        if at > #bytes then return nil end
        local len = string.unpack("<I4", bytes, at + 8)
        at = at + 16 + len
        return bytes:sub(at - len, at - 1)
    end
end

-- How many frames of the tool a capture has, by their sizes.
local function sizes(capture)
    local found = {}
    for frame in each_frame(capture) do
        if frame:sub(13, 14) == "\x88\xb5" then found[#frame] = (found[#frame] or 0) + 1 end
    end
    return found
end

-- Memory of the runner, in KiB.
local function memory(what)
    local file = assert(io.open("/proc/self/status"))
    local text = file:read("a")
    file:close()
    return tonumber(text:match(what .. ":%s+(%d+)"))
end

local function talk(t)
    a:run("ping -c 2 -i 0.1 -W 10 b"):assert_ok()
    b:run("ping -c 2 -i 0.1 -W 10 a"):assert_ok()
end

test("frames that are too big are errors of their sender, small ones pass", function(t)
    local came = lan:nic(b):capture()
    local before = lan:nic(h):counters()
    for _, bytes in ipairs({ 9014, 1523, 1522, 60, 14 }) do
        h:run(frames(mac(b), mac(h), bytes, 50)):assert_ok()
    end
    wait_until(function() return lan:nic(h):counters().tx_packets - before.tx_packets >= 150 end)
    local passed = sizes(came)
    t:assert_eq(passed[14], 50)
    t:assert_eq(passed[60], 50)
    t:assert_eq(passed[1522], 50)
    t:assert_eq(passed[1523], nil)
    t:assert_eq(passed[9014], nil)
    t:assert_eq(lan:nic(h):counters().errors - before.errors, 100)
    talk(t)
end)

-- What there is room for: 8192 frames of one sender in delay (13 MiB), a capture that nobody reads (16 MiB), the queues of ports.
test("a flood finds an end, and others their way", function(t)
    local nic, unread = lan:nic(h), lan:capture()
    local before, sent = memory("VmRSS"), nic:counters()
    local function flood(to, count)
        local tool = h:run_async(frames(to, mac(h), 1514, 1000000000))
        local goal, answered = nic:counters().tx_packets + count, false
        wait_until(function()
            answered = a:run("ping -c 1 -W 2 b"):ok() or answered
            b:run("true"):assert_ok()
            return answered and nic:counters().tx_packets >= goal
        end, { timeout = 100, interval = 0.5 })
        t:assert_eq(tool:status(), "running")
        tool:kill()
        tool:wait()
    end
    flood(broadcast, 2000)
    flood(mac(b), 2000)
    lan:add_latency({ from = h, to = a, ms = 120000 })
    flood(nobody, 25000)
    local now, grown = nic:counters(), memory("VmHWM") - before
    t:log(("%d MiB in %d frames, %d too many; the runner has grown by %d MiB"):format((now.tx_bytes - sent.tx_bytes) >> 20,
        now.tx_packets - sent.tx_packets, now.errors - sent.errors, grown >> 10))
    t:assert(now.errors - sent.errors >= 25000 - 8192, "more frames in delay than there is room for")
    -- AddressSanitizer, told by its terabytes of shadow, keeps what was freed.
    if memory("VmSize") < 1 << 30 then t:assert(grown < 40 << 10, grown .. " KiB more") end
    unread:close()
    lan:reset()
    talk(t)
end)

test("an address that moves from port to port, and one that is stolen", function(t)
    -- To themselves, so that they go nowhere: what they do is to be learned.
    local flaps = {}
    for i, vm in ipairs({ b, h }) do flaps[i] = vm:run_async(frames(mac(vm), "02:97:00:00:00:01", 60, 1000000000)) end
    for _ = 1, 3 do talk(t) end
    for _, flap in ipairs(flaps) do
        t:assert_eq(flap:status(), "running")
        flap:kill()
        flap:wait()
    end
    -- Frames for b go to h now, until b says something.
    local stolen = mac(b):gsub("%x%x:?", function(x) return string.char(tonumber(x:sub(1, 2), 16)) end)
    local seen = lan:nic(h):capture()
    h:run(frames(mac(h), mac(b), 60, 1)):assert_ok()
    seen:read_until(stolen .. "\x88\xb5", 30)
    seen:close()
    b:run("ping -c 1 -W 10 a"):assert_ok()
    talk(t)
end)

-- The oldest ones go: what is sent to b comes to all, until b has said something.
test("more addresses than the table has", function(t)
    -- A guest that says nothing by itself.
    b:run("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6"):assert_ok()
    b:run(("arp -s %s %s"):format(a:run("ip -4 addr show dev eth0").stdout:match("inet ([%d.]+)"), mac(a))):assert_ok()
    talk(t)
    local before = lan:nic(h):counters().tx_packets
    h:run(frames(mac(h), "each", 60, 20000)):assert_ok()
    wait_until(function() return lan:nic(h):counters().tx_packets - before >= 20000 end)
    local seen = lan:nic(h):capture()
    a:run("ping -c 3 -i 0.2 -W 10 b"):assert_ok()
    local requests = 0
    for frame in each_frame(seen) do
        if frame:sub(13, 14) == "\x08\x00" and frame:byte(24) == 1 and frame:byte(35) == 8 then requests = requests + 1 end
    end
    t:assert_eq(requests, 1)
    talk(t)
end)
LUA
expect 0 "$provium" run -v --cpus 8 --psi-threshold 0 --journal=run a.test.lua
passed
