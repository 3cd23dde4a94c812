-- Pings that wait in a bridge, in a snapshot of their lab, and in what is restored from it. A runner that is killed takes along what waits in its bridges, but
-- not what it has saved, nor what it has loaded and not yet let go: see frames_crash_sweep.sh, which looks for "lost".
provium:claim({ memory = "300M", cpus = 2 })
local lan = provium:bridge("lan")
local a = provium:vm("a", "default", { memory = "128M" })
local b = provium:vm("b", "default", { memory = "128M" })
lan:attach({ a, b })
provium:boot()
a:run("ping -c 1 b.lan"):assert_ok()
lan:add_latency({ from = a, to = b, ms = 1500 })

test("frames", function(t)
  local lab = provium:lab("lab")
  for _, member in ipairs({ a, b, lan }) do lab:include(member) end
  local function save()
    a:run("killall ping; ping -c 5 -i 0.1 -W 5 b.lan >/tmp/pings 2>&1 & sleep 0.8"):assert_ok()
    local saved = lab:snapshot()
    local file = io.open(saved:path() .. "/lan.frames")
    local bytes = file:seek("end")
    file:close()
    return saved, bytes
  end
  local function arrived()
    a:run("while ! grep -q packets /tmp/pings; do sleep 0.1; done"):assert_ok()
    local order = a:read_file("/tmp/pings"):gsub(".-seq=(%d)[^\n]*", "%1"):match("^%d*")
    return order
  end
  local saved, bytes = save()
  if bytes < 5 * 98 then saved, bytes = save() end
  t:assert(bytes >= 5 * 98, tostring(bytes))
  lab:restore(saved)
  if arrived() ~= "01234" then
    t:log("lost")
    lab:restore(saved)
    t:assert_eq(arrived(), "01234")
  end
  b:run("ping -c 1 -W 5 a.lan"):assert_ok()
end)
