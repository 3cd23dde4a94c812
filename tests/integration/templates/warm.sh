# QEMU is started ahead for boots from a template: a boot takes what is there, and nothing of it is left, neither after a run, nor when the runner is killed.
. "$(dirname "$0")/../../lib/harness.sh"
export XDG_CACHE_HOME="$work/cache"
profile 'accel = "tcg"' 'memory = "128M"'
cat >a.test.lua <<'LUA'
local function boot(name)
    local vm = provium:vm(name, "default"):boot()
    vm:run("hostname"):assert_ok()
    return vm
end
local first = boot("first")
local second = boot("second")
second:run("sleep 1"):assert_ok() -- time enough for a process
local third = boot("third")
test("goes on", function(t)
    local ids = {}
    for name, vm in pairs({ first = first, second = second, third = third }) do
        t:assert_eq(vm:run("hostname").stdout, name .. "\n")
        for _, path in ipairs({ "/proc/sys/kernel/random/boot_id", "/sys/class/dmi/id/product_uuid" }) do
            local id = vm:read_file(path)
            t:assert(not ids[id], path .. " of " .. name .. " is another's")
            ids[id] = true
        end
    end
    third:run("echo here > /mark"):assert_ok()
    third:run("sleep 5"):assert_ok()
    t:assert_eq(third:read_file("/mark"), "here\n")
    third:reset()
    t:assert_eq(third:run("hostname; test -e /mark || echo gone").stdout, "third\ngone\n")
end)
LUA

qemus() { [ "$(pgrep -fc "qemu-system.*$work")" = "$1" ]; }

expect 0 "$provium" run --cpus 8 --jobs 4 --psi-threshold 0 --journal=run1 a.test.lua
"$provium" replay run1 --kind boot >boots
says boots "boot done: template (warm)"
nothing_left

# Killed: the process that waits goes at once, the VMs wait for `resume`, which finds them.
"$provium" run --cpus 8 --jobs 4 --psi-threshold 0 --journal=run2 a.test.lua >out 2>err &
pid=$!
asleep() { kill -0 $pid && "$provium" journal show run2 2>/dev/null | grep -q 'sleep 5'; }
until_true "the test sleeps" asleep
"$provium" replay run2 --kind boot | grep -q 'warm' || fail "no boot was warm"
until_true "a process waits" qemus 4
kill -9 $pid
wait $pid || true
until_true "it has gone" qemus 3
expect 0 "$provium" resume run2
nothing_left

# Killed for good.
"$provium" run --cpus 8 --jobs 4 --psi-threshold 0 --orphan-timeout 0 --journal=run3 a.test.lua >out 2>err &
pid=$!
asleep() { kill -0 $pid && "$provium" journal show run3 2>/dev/null | grep -q 'sleep 5'; }
until_true "the test sleeps" asleep
kill -9 $pid
wait $pid || true
until_true "the keeper ends" gone "provium-keeper.*$work"
until_true "all of QEMU ends" gone "qemu-system.*$work"
nothing_left

expect 0 "$provium" run --cpus 8 --jobs 4 --psi-threshold 0 --no-templates --journal=run4 a.test.lua
"$provium" replay run4 --kind boot >boots
never_says boots template
passed
