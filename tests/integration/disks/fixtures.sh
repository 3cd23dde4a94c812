# Disks in a fixture, in the snapshot of a lab and in a reset: each clone has its own, with what they held then; the template's content is an input.
. "$(dirname "$0")/../../lib/harness.sh"
export XDG_CACHE_HOME="$work/cache"
profile
{ printf '[provium]\nroots = ["tests"]\n'; cat provium.toml; } >with_roots && mv with_roots provium.toml
mkdir -p tests
printf 'template' >tests/template.raw
truncate -s 1M tests/template.raw
cat >tests/base.fixture.lua <<'LUA'
local vm = provium:vm("base", "default", { memory = "128M", disks = {
    { id = "t", template = "template.raw" }, { id = "s", scratch = "64M" } } }):boot()
vm:run("printf made | dd of=/dev/vdb bs=512 seek=100000 conv=sync,fsync 2>/dev/null"):assert_ok()
return vm:snapshot()
LUA
cat >tests/a.test.lua <<'LUA'
provium.reset_between_tests = true
local lab = provium:lab("lab")
local vm = provium:vm_fixture("base")
lab:include(vm)
local function host(disk, sector, n) return disk:read_sectors(sector, 1):sub(1, n) end
local function mess()
    vm:disk("s"):write_sectors(100000, "mess")
    vm:disk("t"):detach()
    vm:attach_disk({ id = "more", scratch = "1M" })
end
local function check(t)
    t:assert_eq(host(vm:disk("t"), 0, 8), "template")
    t:assert_eq(host(vm:disk("s"), 100000, 4), "made")
    t:assert_eq(vm:run("dd if=/dev/vdb bs=512 skip=100000 count=1 2>/dev/null | head -c 4").stdout, "made")
    t:assert_raises(function() vm:disk("more") end)
end
test("as it was made", function(t)
    check(t)
    local again = provium:vm_fixture("base")
    again:disk("s"):write_sectors(100000, "ours")
    t:assert_eq(host(vm:disk("s"), 100000, 4), "made")
    again:shutdown()
    local saved = lab:snapshot()
    mess()
    lab:restore(saved)
    check(t)
    mess()
end)
test("and behind a reset", check)
LUA

expect 0 "$provium" run --psi-threshold 0 --cpus 8 --journal=first
says out 'PASS tests/a.test.lua (2 passed, 0 failed, 0 skipped)'
expect 0 "$provium" replay first
says out 'the build of the fixture base is done'
key=$(find "$XDG_CACHE_HOME" -name '*.snap' -path '*/fixtures/*' -size -65536k | grep -v hot | head -n 1)
[ -n "$key" ] || fail "the entry is not there, or has the holes of its disks"
expect 0 "$provium" run --psi-threshold 0 --cpus 8 --journal=second
expect 0 "$provium" replay second
never_says out 'the build of the fixture base is done'
expect 0 "$provium" replay second --at 60
says out 'disk s  saved, 64 MiB'
# Another template, another fixture.
printf 'TEMPLATE' | dd of=tests/template.raw conv=notrunc 2>/dev/null
code=0
"$provium" run --psi-threshold 0 --cpus 8 --journal=third >out 2>err || code=$?
[ "$code" = 1 ] || fail "the test did not see the other template"
says out 'TEMPLATE'
passed
