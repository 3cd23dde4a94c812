# A guest whose kernel panics is told at once, not after the boot deadline, with the tail of its console.
. "$(dirname "$0")/../../lib/harness.sh"
empty_initrd "$work/empty.cpio" # no init: the kernel has nothing to run
profile "initrd = \"$work/empty.cpio\"" 'inject_agent = false'
cat >a.test.lua <<'LUA'
local vm = provium:vm("p", "default", { wait = "200s" })
local ok, err = pcall(vm.boot, vm)

test("the error names the panic", function(t)
    t:assert(not ok)
    t:assert_contains(tostring(err), "vm:boot:")
    t:assert_contains(tostring(err), "Kernel panic - not syncing")
    t:assert_eq(vm:state(), "dead")
end)

test("a dead VM says why, and shutdown makes it usable again", function(t)
    local _, why = pcall(vm.run, vm, "true")
    t:assert_contains(tostring(why), "dead")
    t:assert_contains(tostring(why), "panic")
    t:assert(not tostring(why):find("\n"), "the console belongs to the first telling alone")
    vm:shutdown()
    t:assert_eq(vm:state(), "shutdown")
end)
LUA
started=$(date +%s)
expect 0 "$provium" run .
took=$(($(date +%s) - started))
[ "$took" -lt 60 ] || fail "it took $took s: the panic was not seen, only the deadline"
passed
