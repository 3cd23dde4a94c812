-- Disks: what both sides write, what is plugged in and out, and a restore with another content.
provium:claim({ memory = "300M", cpus = 1 })
local FIND = [[
i=0
while [ $i -lt 200 ]; do
  for s in /sys/block/*/serial; do
    if [ "$(cat $s 2>/dev/null)" = hot ]; then d=${s%/serial}; echo -n /dev/${d##*/}; exit 0; fi
  done
  i=$((i + 1)); sleep 0.05
done
exit 1]]
local a = provium:vm("a", "default", { memory = "128M", disks = { { id = "d", scratch = "1M" } } }):boot()
local function put(dev, text)
  a:run("printf %s " .. text .. " | dd of=" .. dev .. " bs=512 seek=1 conv=sync,fsync 2>/dev/null"):assert_ok()
end
local function host(disk) return disk:read_sectors(1, 1):sub(1, 5) end
local d = a:disk("d")

test("sectors", function(t)
  put("/dev/vda", "guest")
  t:assert_eq(host(d), "guest")
  d:write_sectors(1, "host!")
  t:assert_eq(host(d), "host!")
  t:assert_eq(d:size(), 1 << 20)
end)

test("plugged in, saved, plugged out, restored", function(t)
  local hot = a:attach_disk({ id = "hot", scratch = "1M" })
  local dev = a:run(FIND):assert_ok().stdout
  put(dev, "first")
  local snap = a:snapshot()
  put(dev, "later")
  d:write_sectors(1, "gone!")
  hot:detach()
  t:assert(hot:is_detached())
  a:shutdown()
  a:restore(snap)
  t:assert_eq(host(hot), "first")
  t:assert_eq(host(d), "host!")
  put(dev, "again")
  t:assert_eq(host(hot), "again")
  hot:detach()
  d:detach()
end)
