-- Guests that go on from one boot template: nothing that should be a guest's own is another's.

local host_now = os.time
local A, B = provium:vm("a", "default"), provium:vm("b", "default")
provium:boot()

local function facts(vm)
    local function line(script) return (vm:run(script):assert_ok().stdout:gsub("%s+$", "")) end
    return {
        boot_id = line("cat /proc/sys/kernel/random/boot_id"),
        uuid = line("cat /proc/sys/kernel/random/uuid"),
        product_uuid = line("cat /sys/class/dmi/id/product_uuid"),
        urandom = line("head -c 16 /dev/urandom | od -An -tx1"),
        random = line("head -c 16 /dev/random | od -An -tx1"),
        stack = line("sed -n 's/ .*\\[stack\\]//p' /proc/self/maps"), -- where the kernel has put it
        hostname = line("hostname"),
        now = tonumber(line("date +%s")),
        machine_id = line("cat /etc/machine-id 2>/dev/null || true"),
    }
end

local function differ(t, a, b)
    for _, key in ipairs({ "boot_id", "uuid", "product_uuid", "urandom", "random", "stack", "hostname" }) do
        t:assert(a[key] ~= "", key .. " is empty")
        t:assert_neq(a[key], b[key], key)
    end
    t:assert_eq(a.machine_id, "")
end

test("side by side they differ where guests do", function(t)
    local a, b = facts(A), facts(B)
    differ(t, a, b)
    t:assert_eq(a.hostname, "a")
    t:assert_eq(b.hostname, "b")
    for _, guest in ipairs({ a, b }) do
        t:assert(math.abs(guest.now - host_now()) <= 60, "the clock is off by " .. guest.now - host_now())
    end
end)

test("a third, from the template for sure, and one that boots cold", function(t)
    local third = provium:vm("third", "default"):boot()
    local cold = provium:vm("cold", "default"):boot({ template = false })
    local a, c, d = facts(A), facts(third), facts(cold)
    differ(t, a, c)
    differ(t, c, d)
    t:assert(math.abs(c.now - d.now) <= 60)
    -- What init does is done in each.
    local script = "mount | grep -c . ; cat /proc/1/comm; cat /proc/cmdline; umask"
    t:assert_eq(third:run(script).stdout, cold:run(script).stdout)
end)

test("the same UUID after a reset, another boot", function(t)
    local before = facts(B)
    B:reset()
    local after = facts(B)
    t:assert_eq(after.product_uuid, before.product_uuid)
    t:assert_eq(after.hostname, "b")
    t:assert_neq(after.boot_id, before.boot_id)
    t:assert_neq(after.urandom, before.urandom)
end)

test("boot files are there before init, and again after a reset", function(t)
    local opts = {
        files = {
            { path = "/etc/deep/er/file", content = "staged", mode = 384 },
            { path = "/etc/hostname", content = "not used\n" },
            -- The default guest's init is /init.
            { path = "/init", content = "#!/bin/sh\ntouch /ran-$(cat /etc/deep/er/file)\nexec /bin/sh -c 'while :; do sleep 1000; done'\n", mode = 493 },
        },
    }
    local vm = provium:vm("files", "default"):boot(opts)
    for round = 1, 2 do
        wait_until(function() return vm:run("test -e /ran-staged").exit_code == 0 end,
            { timeout = 30, desc = "init has run, round " .. round })
        t:assert_eq(vm:read_file("/etc/deep/er/file"), "staged")
        t:assert_eq(vm:run("stat -c '%a %U' /etc/deep/er/file /etc/deep").stdout, "600 root\n755 root\n")
        if round == 1 then vm:reset() end
    end
end)

test("initial_time sets both clocks", function(t)
    local vm = provium:vm("clock", "default"):boot({ initial_time = 1000000000 })
    local rtc = vm:run("cat /sys/class/rtc/rtc0/since_epoch").stdout
    for _, now in ipairs({ tonumber(vm:run("date +%s").stdout), tonumber(rtc) }) do
        t:assert(now >= 1000000000 and now < 1000000060, "a clock says " .. now)
    end
end)

test("the console has the kernel's messages from the beginning", function(t)
    -- Two of a template of its own: without `quiet`.
    local opts = { kernel_cmdline = "console=ttyS0 panic=-1 cryptomgr.notests no_timer_check" }
    for _, name in ipairs({ "loud1", "loud2" }) do
        local vm = provium:vm(name, "default"):boot(opts)
        local stream = vm:console()
        stream:expect("Linux version")
        stream:expect("Run /sbin/provium-agent as init process")
        vm:run("echo to the console > /dev/console"):assert_ok()
        stream:expect("to the console")
        local _, count = stream:read_log():gsub("Linux version", "")
        t:assert_eq(count, 1)
        vm:shutdown()
    end
end)

test("the same seed gives the same numbers", function(t)
    local function draw(seed)
        local vm = provium:vm("seed" .. seed .. "-" .. os.clock() * 1e6 // 1, "default"):boot({ rng_seed = seed })
        local bytes = vm:run("dd if=/dev/hwrng bs=4096 count=16 2>/dev/null | od -An -v -tx1").stdout:gsub("%s", "")
        vm:shutdown()
        return bytes
    end
    local one, again, other = draw(1), draw(1), draw(2)
    local part = one:sub(65536, 65536 + 63)
    t:assert(again:find(part, 1, true), "the stream is another")
    t:assert(not other:find(part, 1, true))
end)
