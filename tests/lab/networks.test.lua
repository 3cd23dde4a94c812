-- Networks of real VMs: who reaches whom, what rules do to frames, what guests see of their links and names.
provium.timeout = "300s"

local lan = provium:bridge("lan")
local a, b = provium:vm("a", "default"), provium:vm("b", "default")
lan:attach({ a, "b" })
provium:boot()

local function reaches(from, host)
  return from:run("ping -c 1 -W 2 " .. host):ok()
end

-- The shortest round trip in ms: a busy machine adds to it, nothing subtracts from it.
local function round_trip(from, host, n)
  local out = from:run(("ping -c %d -i 0.2 %s"):format(n, host)):assert_ok().stdout
  local times = {}
  for ms in out:gmatch("time=([%d.]+)") do
    times[#times + 1] = tonumber(ms)
  end
  table.sort(times)
  return times[1]
end

test("VMs that were attached before they booted reach each other by their names", function(t)
  a:run("ping -c 1 b.lan"):assert_ok()
  a:run("ping -c 1 b"):assert_ok()
  b:run("ping -c 1 a.lan"):assert_ok()
  t:assert_eq(table.concat(lan:members(), " "), "a b")
  local address = a:run("ip -6 addr show dev eth0").stdout
  t:assert_contains(address, "fd70:726f:7600:")
  t:assert_contains(address, "fe80::")
  a:run("ping6 -c 1 " .. b:run("ip -6 addr show dev eth0 scope global").stdout:match("inet6 ([%x:]+)")):assert_ok()
end)

test("a NIC that is plugged into a VM that is up is configured when attach returns", function(t)
  local wan = provium:bridge("wan")
  wan:attach({ a, b })
  a:run("ping -c 1 b.wan"):assert_ok()
  t:assert_contains(a:read_file("/etc/hosts"), "b.wan")
  t:assert_eq(a:nic("eth1"):bridge(), "wan")
  t:assert_eq(a:nic("lan"):bridge(), "lan")
  wan:detach(b)
  t:assert(not reaches(a, wan:nic("a") and "b.wan"))
  t:assert_eq(b:read_file("/sys/class/net/eth1/carrier"), "0\n")
  t:assert(not a:read_file("/etc/hosts"):find("b.wan", 1, true))
  wan:attach(b)
  a:run("ping -c 1 b.wan"):assert_ok()
end)

test("partitions cut both ways, one way, all", function(t)
  lan:partition(a, b)
  t:assert(not reaches(a, "b.lan"))
  lan:unpartition(b, a)
  t:assert(reaches(a, "b.lan"))
  local before = lan:nic(b):counters()
  lan:partition({ from = b, to = a })
  t:assert(not reaches(a, "b.lan"))
  local after = lan:nic(b):counters()
  t:assert(after.rx_packets > before.rx_packets, "requests still arrive")
  lan:restore_all()
  lan:partition_all()
  t:assert(not reaches(b, "a.lan"))
  lan:reset()
  t:assert(reaches(b, "a.lan"))
end)

test("an isolated member reaches nobody", function(t)
  lan:isolate(a)
  t:assert(not reaches(b, "a.lan"))
  lan:unisolate(a)
  t:assert(reaches(b, "a.lan"))
end)

test("50 ms of latency are 50 ms; of one direction 50 as well", function(t)
  local baseline = round_trip(a, "b.lan", 5)
  lan:add_latency(50)
  local both = round_trip(a, "b.lan", 5)
  lan:add_latency(0)
  lan:add_latency({ from = a, to = b, ms = 50 })
  local one = round_trip(a, "b.lan", 5)
  lan:reset()
  t:log(("baseline %.1f, both ways %.1f, one way %.1f"):format(baseline, both, one))
  t:assert(both >= 100 and both < 100 + baseline + 40)
  t:assert(one >= 50 and one < 50 + baseline + 40)
end)

test("a NIC that is disconnected has no carrier, and keeps its address", function(t)
  local nic = lan:nic(a)
  local address = a:run("ip -4 addr show dev eth0").stdout:match("inet ([%d.]+)")
  nic:disconnect()
  t:assert_eq(a:read_file("/sys/class/net/eth0/carrier"), "0\n")
  t:assert(not reaches(b, "a.lan"))
  t:assert_eq(table.concat(lan:members(), " "), "b")
  nic:reconnect()
  t:assert_eq(a:read_file("/sys/class/net/eth0/carrier"), "1\n")
  t:assert_eq(a:run("ip -4 addr show dev eth0").stdout:match("inet ([%d.]+)"), address)
  t:assert(reaches(b, "a.lan"))
end)

test("routes forward between bridges", function(t)
  local east, west = provium:bridge("east"), provium:bridge("west")
  east:attach(a)
  west:attach(b)
  local address
  for found in b:run("ip -4 addr show"):assert_ok().stdout:gmatch("inet ([%d.]+)/16") do
    address = found
  end
  t:assert(not reaches(a, address))
  east:route(west)
  t:assert(reaches(a, address))
  t:assert_eq(table.concat(east:routes(), " "), "west")
end)

test("captures are what tcpdump reads", function(t)
  local capture, of_nic = lan:capture(), lan:nic(b):capture()
  a:run("ping -c 3 -i 0.2 b.lan"):assert_ok()
  local bytes, seen = table.concat(capture:drain(1)), table.concat(of_nic:drain(1))
  t:assert_eq(string.unpack("<I4", bytes), 0xa1b2c3d4)
  t:assert(#bytes >= 24 + 6 * (16 + 98))
  t:assert(#seen >= 24 + 6 * (16 + 98))
  capture:close()
  of_nic:close()
  local dump = os.getenv("PV_TEST_DUMP")
  if dump then
    local file = assert(io.open(dump, "wb"))
    file:write(bytes)
    file:close()
  end
end)

test("names and addresses are right after a reset and after a reboot of the guest's own", function(t)
  local function addresses()
    return b:run("ip addr show dev eth0 | grep -o 'inet6* [^ ]*'"):assert_ok().stdout
  end
  local before, hosts = addresses(), b:read_file("/etc/hosts")
  t:assert_contains(before, "fe80::")
  local function as_before()
    t:assert_eq(addresses(), before)
    t:assert_eq(b:read_file("/etc/hosts"), hosts)
    b:run("ping -c 1 a.lan"):assert_ok()
    a:run("ping -c 1 b.lan"):assert_ok()
  end
  b:reset()
  as_before()
  -- Another boot: its id says so.
  local boot = b:read_file("/proc/sys/kernel/random/boot_id")
  b:run_async("reboot -f")
  wait_until(function()
    local ok, now = pcall(b.read_file, b, "/proc/sys/kernel/random/boot_id")
    return ok and now ~= boot
  end, { timeout = 60 })
  as_before()
end)
