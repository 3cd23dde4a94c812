-- Disks: there from the start, plugged in and out, read and written from both sides, saved and restored.
local FIND = [[
i=0
while [ $i -lt 200 ]; do
  for s in /sys/block/*/serial; do
    if [ "$(cat $s 2>/dev/null)" = "$ID" ]; then d=${s%/serial}; echo -n /dev/${d##*/}; exit 0; fi
  done
  i=$((i + 1)); sleep 0.05
done
exit 1]]

-- The guest's device of a disk; the serial number has room for 20 bytes.
local function device(vm, id)
    return vm:run(FIND, { env = { ID = id:sub(1, 20) } }):assert_ok().stdout
end

local function put(vm, dev, sector, text)
    vm:run("printf %s \"$TEXT\" | dd of=" .. dev .. " bs=512 seek=" .. sector .. " conv=sync,fsync 2>/dev/null",
        { env = { TEXT = text } }):assert_ok()
end

-- Not out of the guest's own cache.
local function get(vm, dev, sector, n)
    return vm:run("echo 3 >/proc/sys/vm/drop_caches; dd if=" .. dev .. " bs=512 skip=" .. sector .. " count=1 2>/dev/null | head -c " .. n)
        :assert_ok().stdout
end

local function host(disk, sector, n) return disk:read_sectors(sector, 1):sub(1, n) end

local function file(path, mode, text)
    local f = assert(io.open(path, mode))
    local got = text and f:write(text) or f:read("a")
    f:close()
    return got
end

local cwd = io.popen("pwd"):read("l")
local image, template = cwd .. "/image.raw", cwd .. "/template.raw"
file(image, "w", "image" .. ("\0"):rep((1 << 20) - 5))
file(template, "w", "template" .. ("\0"):rep((1 << 20) - 8))

local vm = provium:vm("a", "default", { memory = "128M", disks = {
    { id = "scratch", scratch = "4M" },
    { id = "image", image = image },
    { id = "template", template = template },
} }):boot()

test("what the guest has from the start", function(t)
    t:assert_eq(device(vm, "scratch"), "/dev/vda")
    t:assert_eq(device(vm, "image"), "/dev/vdb")
    t:assert_eq(device(vm, "template"), "/dev/vdc")
    t:assert_eq(vm:read_file("/sys/block/vda/size"), "8192\n")
    t:assert_eq(vm:disk("scratch"):size(), 4 << 20)
    t:assert_eq(vm:disk("image"):size(), 1 << 20)
    t:assert_eq(get(vm, "/dev/vdb", 0, 5), "image")
    t:assert_eq(get(vm, "/dev/vdc", 0, 8), "template")
    t:assert_eq(get(vm, "/dev/vda", 0, 512), ("\0"):rep(512))
    t:assert_contains(tostring(t:assert_raises(function() vm:disk("none") end)), 'no disk "none"')
end)

test("sectors, from both sides", function(t)
    local d = vm:disk("scratch")
    put(vm, "/dev/vda", 3, "from the guest")
    t:assert_eq(host(d, 3, 14), "from the guest")
    d:write_sectors(4, "from the host, across a boundary: " .. ("x"):rep(600))
    t:assert_eq(get(vm, "/dev/vda", 4, 13), "from the host")
    t:assert_eq(#d:read_sectors(0, 100), 51200)
    d:write_sectors(8191, "the end")
    for _, bad in ipairs({ function() d:read_sectors(8191, 2) end, function() d:write_sectors(8191, ("x"):rep(513)) end,
        function() d:read_sectors(9000, 0) end }) do
        t:assert_contains(tostring(t:assert_raises(bad)), "past the end")
    end
    t:assert_contains(tostring(t:assert_raises(function() d:read_sectors(-1, 1) end)), "-1")
    put(vm, "/dev/vdb", 1, "kept")
    t:assert_eq(file(image, "r"):sub(513, 516), "kept")
    put(vm, "/dev/vdc", 1, "mine")
    t:assert_eq(file(template, "r"):sub(513, 516), "\0\0\0\0")
    t:assert_contains(tostring(t:assert_raises(function() d:power_cut() end)), "not supported yet")
end)

test("plugged in and out", function(t)
    local d = vm:attach_disk({ id = "hot", scratch = "1M" })
    local dev = device(vm, "hot")
    put(vm, dev, 1, "hot")
    t:assert_eq(host(d, 1, 3), "hot")
    t:assert_contains(tostring(t:assert_raises(function() vm:attach_disk({ id = "hot" }) end)), "is used")
    local blank = vm:attach_disk()
    t:assert_eq(blank:id(), "attached-a")
    t:assert_eq(blank:size(), 4 << 30)
    put(vm, device(vm, "attached-a"), 1, "written")
    t:assert_contains(tostring(t:assert_raises(function() blank:read_sectors(0, 1) end)), "no backing image")
    d:detach()
    t:assert(d:is_detached())
    d:detach()
    wait_until(function() return not vm:run("test -e " .. dev):ok() end)
    t:assert_contains(tostring(t:assert_raises(function() d:read_sectors(0, 1) end)), "disk is detached")
    t:assert_contains(tostring(t:assert_raises(function() vm:attach_disk({ id = "x", template = "/none" }) end)), "/none")
    vm:pause()
    t:assert_contains(tostring(t:assert_raises(function() vm:attach_disk({ id = "x" }) end)), "paused")
    vm:resume()
    blank:detach()
end)

test("a snapshot has what they held", function(t)
    put(vm, "/dev/vda", 9, "one")
    put(vm, "/dev/vdb", 9, "img1")
    local saved = vm:snapshot()
    put(vm, "/dev/vda", 9, "two")
    put(vm, "/dev/vdb", 9, "img2")
    vm:attach_disk({ id = "late", scratch = "1M" })
    t:assert_eq(host(vm:disk("scratch"), 9, 3), "two")
    vm:shutdown()
    vm:restore(saved)
    t:assert_eq(host(vm:disk("scratch"), 9, 3), "one")
    t:assert_eq(get(vm, "/dev/vda", 9, 3), "one")
    t:assert_eq(get(vm, "/dev/vdb", 9, 4), "img1")
    t:assert_eq(get(vm, "/dev/vdc", 0, 8), "template")
    t:assert_raises(function() vm:disk("late") end)
    -- the image came back as a private copy
    put(vm, "/dev/vdb", 9, "img3")
    t:assert_eq(file(image, "r"):sub(9 * 512 + 1, 9 * 512 + 4), "img2")
    -- clones do not see each other
    local b = provium:vm("b", "default", { memory = "128M" }):restore(saved)
    local c = provium:vm("c", "default", { memory = "128M" }):restore(saved)
    put(b, "/dev/vda", 9, "BBB")
    put(c, "/dev/vda", 9, "CCC")
    t:assert_eq(host(b:disk("scratch"), 9, 3), "BBB")
    t:assert_eq(host(c:disk("scratch"), 9, 3), "CCC")
    t:assert_eq(host(vm:disk("scratch"), 9, 3), "one")
    local other = provium:vm("d", "default", { memory = "128M", disks = { { id = "other", scratch = "1M" } } })
    t:assert_contains(tostring(t:assert_raises(function() other:restore(saved) end)),
        "disk 'other': the VM has it, the snapshot has not")
    -- a disk that was plugged in is part of a snapshot, and stays unplugged when it was
    local d = b:attach_disk({ id = "hot", scratch = "1M" })
    put(b, device(b, "hot"), 2, "plugged")
    local again = b:snapshot()
    d:detach()
    b:shutdown()
    b:restore(again)
    t:assert(not d:is_detached())
    t:assert_eq(get(b, device(b, "hot"), 2, 7), "plugged")
    d:detach()
end)

test("disks of one boot, and of the next", function(t)
    local e = provium:vm("e", "default", { memory = "128M", disks = { { id = "x", scratch = "1M" } } })
    local x = e:disk("x")
    x:write_sectors(0, "staged")
    local late = e:attach_disk({ id = "late", template = "template.raw" })
    e:boot({ disks = { { id = "x", size = "2M" }, { id = "y", scratch = "1M" } } })
    t:assert_eq(x:size(), 2 << 20)
    t:assert_eq(get(e, device(e, "x"), 0, 6), ("\0"):rep(6))
    t:assert_eq(get(e, device(e, "late"), 0, 8), "template")
    e:shutdown()
    t:assert_eq(host(x, 0, 6), "staged")
    t:assert_raises(function() e:disk("y") end)
    t:assert_contains(tostring(t:assert_raises(function() e:boot({ disks = { { id = "late" } } }) end)), "is used")
    late:detach()
    for i = 1, 23 do e:attach_disk({ id = "n" .. i, scratch = "1M" }) end
    t:assert_contains(tostring(t:assert_raises(function() e:attach_disk({ id = "more" }) end)), "24 NICs and disks")
end)
