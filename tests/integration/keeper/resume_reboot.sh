# A guest that reboots by itself when the runner is killed: its calls end as in any reboot, and the VM goes on.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local a = provium:vm("a", "default"):boot()
test("reboots", function(t)
    a:run("touch /tmp/before; (sleep 2; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &"):assert_ok()
    local p = a:run_async("exec sleep 1000")
    t:assert_contains(tostring(t:assert_raises(function() a:run("sleep 500") end)), "reset")
    wait_until(function() return a:run("test -e /tmp/before").exit_code == 1 end)
    t:assert_contains(tostring(t:assert_raises(function() p:wait() end)), "reset")
end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
pid=$!
at_work() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	"$provium" journal show run 2>/dev/null | grep -q 'sleep 500'
}
until_true "the intent is committed" at_work
kill -9 $pid
wait $pid || true
expect 0 timeout 100 "$provium" resume run
says out "1 passed"
passed
