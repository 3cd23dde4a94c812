# Real VMs and the resource pool: without a claim a VM takes its memory when it boots and gives it back when it ends; a boot waits until there
# is room; two that wait for each other are told; VMs draw on the claim first.
. "$(dirname "$0")/../../lib/harness.sh"
profile

# One VM at a time fits, though both files are in flight.
for i in 1 2; do
	cat >"a$i.test.lua" <<'LUA'
test("boots", function()
    local vm = provium:vm("vm", "default", {memory = "128M"})
    vm:boot()
    vm:run("true"):assert_ok()
end)
LUA
done
rm -rf run
expect 0 "$provium" run --mem 280M --cpus 2 --jobs 2 --psi-threshold 0 --journal=run .
"$provium" replay run >story
says story '(pool full) for 128 MiB, 1 vCPU'
awk '/  boot$/ { if (++up > 1) exit 1 } /shutdown done/ { up-- }' story || fail "two VMs were up in a pool for one"
[ "$(grep -c 'boot done' story)" = 2 ] || fail "not both booted"

# The same file: the second boot waits for the end of the first VM, in a task of its own.
rm -f ./*.test.lua
cat >b.test.lua <<'LUA'
test("one after the other", function(t)
    local a = provium:vm("a", "default", {memory = "128M"})
    local b = provium:vm("b", "default", {memory = "128M"})
    a:boot()
    local task = co.spawn(function() b:boot() end)
    t:assert_eq(b:state(), "created")
    a:shutdown()
    task:join(60)
    t:assert_eq(b:state(), "booted")
    -- nobody else could make room now
    local err = tostring(t:assert_raises(function() a:boot() end))
    t:assert_contains(err, "vm:boot: 128 MiB and 1 vCPU can never come free")
    t:assert_contains(err, "it has 280 MiB and 2 vCPU in all")
    t:assert_contains(err, "b.test.lua holds 178 MiB and 1 vCPU and waits for 128 MiB and 1 vCPU")
    t:assert_eq(a:state(), "shutdown")
    local large = provium:vm("large", "default", {memory = "300M"})
    t:assert_contains(tostring(t:assert_raises(function() large:boot() end)), "is more than the resource pool can ever give")
    t:assert_eq(large:state(), "created")
end)
test("the scope gave its memory back", function(t)
    local a = provium:vm("a", "default", {memory = "200M"})
    a:boot()
end)
LUA
rm -rf run
expect 0 "$provium" run --mem 280M --cpus 2 --psi-threshold 0 --journal=run .

# VMs of a file with a claim draw on it: the pool is taken once.
rm -f ./*.test.lua
cat >c.test.lua <<'LUA'
provium:claim({memory = "200M", cpus = 1})
local vm = provium:vm("vm", "default", {memory = "192M"})
test("boots", function() vm:boot() end)
LUA
rm -rf run
expect 0 "$provium" run --mem 250M --cpus 1 --psi-threshold 0 --journal=run .
"$provium" replay run >story
never_says story '(pool full)'
passed
