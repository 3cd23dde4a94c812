# kill -9 of the runner while a process, a worker, a large write, the closing of a process and a command are at work: `resume` gets the outcome of each,
# and what it does in the guest is done once. A VM that its test had paused stays so, and no time passes in it.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local a, b = provium:vm("a", "default"), provium:vm("b", "default")
provium:boot()
test("objects", function(t)
    b:run("cut -d. -f1 /proc/uptime >/tmp/up")
    b:pause()
    local p = a:run_async("trap 'echo t >>/tmp/count' TERM; touch /tmp/trap; while :; do sleep 0.1; done")
    a:run("while ! test -e /tmp/trap; do sleep 0.1; done")
    local w = a:spawn_worker()
    local q = w:run_async("sleep 2; echo q; exit 7")
    local waiting = co.spawn(function() return q:wait().exit_code end)
    local running = co.spawn(function() return w:run("echo w >>/tmp/count; sleep 2; echo W").stdout end)
    local writing = co.spawn(function() a:write_file("/tmp/big", string.rep("x", 3000000)) end)
    local closing = co.spawn(function() p:close() end)
    local r = a:run("echo r >>/tmp/count; sleep 3; wc -c </tmp/big")
    t:assert_eq(r.stdout, "3000000\n")
    t:assert_eq(waiting:join(20), 7)
    t:assert_eq(running:join(20), "W\n")
    writing:join(20)
    closing:join(20)
    t:assert_eq(a:run("sort /tmp/count").stdout, "r\nt\nw\n")
    w:close()
    b:resume()
    t:assert(tonumber(b:run("echo $(($(cut -d. -f1 /proc/uptime) - $(cat /tmp/up)))").stdout) < 3)
end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
pid=$!
at_work() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	"$provium" journal show run 2>/dev/null | grep -q 'wc -c'
}
until_true "the last intent is committed" at_work
kill -9 $pid
wait $pid || true
sleep 4 # time that must not pass in a guest
expect 0 timeout 100 "$provium" resume run
says out "1 passed"
passed
