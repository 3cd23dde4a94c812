# kill -9 of a runner in the middle of calls; the driver of another process takes the VMs over: open calls get the outcome of what is at work
# already, a process that was started is still the same, and a VM that its test had paused stays so.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local a, b = provium:vm("a", "default"), provium:vm("b", "default")
provium:boot()
test("waits", function(t)
    b:run("cut -d. -f1 /proc/uptime >/tmp/up; echo 'echo $(($(cut -d. -f1 /proc/uptime) - $(cat /tmp/up)))' >/tmp/last")
    b:pause()
    local p = a:run_async("echo p >>/tmp/spawned; while ! test -e /tmp/go; do sleep 0.1; done; echo gone; exit 3")
    co.spawn(function() p:wait() end)
    a:run("echo 'cat /tmp/count /tmp/spawned' >/tmp/last; echo x >>/tmp/count; sleep 3; touch /tmp/go; wc -l </tmp/count; exit 4")
end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
pid=$!
at_work() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	"$provium" journal show run 2>/dev/null | grep -q 'sleep 3'
}
until_true "the last intent is committed" at_work
kill -9 $pid
wait $pid || true
sleep 5 # time that must not pass in a guest
expect 0 timeout 100 "$PV_TEST_BIN/go_on" run "$PV_TEST_BIN"
says out "vm 1: attached"
says out "vm 2: attached"
grep -q 'exited 4 "1$' out || fail "the command has not run once to its end"
grep -q 'exited 3 "gone$' out || fail "the process was not waited for"
tr '\n' ' ' <out | grep -q 'vm 1: call [0-9]*: exited 0 "x p "' || fail "something happened twice in VM a"
up=$(sed -n 's/^vm 2: call .*exited 0 "//p' out)
[ "$up" -lt 2 ] || fail "the paused VM ran for $up s"
never_says out notice
passed
