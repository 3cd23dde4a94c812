# kill -9 of the runner while a VM boots, and once more while it is being reset: `resume` ends the QEMU of the cut boot and boots again, and it resets
# again.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local a = provium:vm("a", "default")
test("boots", function(t)
    a:boot()
    a:run("touch /tmp/before"):assert_ok()
end)
test("starts anew", function(t)
    local p = a:run_async("exec sleep 1000")
    a:reset()
    t:assert_eq(a:run("test -e /tmp/before").exit_code, 1)
    t:assert_contains(tostring(t:assert_raises(function() p:wait() end)), "reset")
end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
pid=$!
booting() { kill -0 "$pid" && grep -qs "is process" run/keeper.log; }
until_true "QEMU runs" booting
kill -9 $pid
wait $pid || true
first=$(pgrep -f "qemu-system.*$work") || fail "QEMU died with the runner"
"$provium" resume run >out 2>err &
pid=$!
resetting() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	"$provium" journal show run 2>/dev/null | grep -q ' reset  @'
}
until_true "the reset is committed" resetting
[ "$(pgrep -f "qemu-system.*$work")" != "$first" ] || fail "the QEMU of the cut boot is still there"
[ "$(pgrep -f "qemu-system.*$work" | wc -l)" = 1 ] || fail "two QEMUs run"
kill -9 $pid
wait $pid || true
expect 0 timeout 100 "$provium" resume run
says out "2 passed"
passed
