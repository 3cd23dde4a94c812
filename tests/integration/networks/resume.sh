# kill -9 of the runner while guests talk: the switch is made again from the state, with its cut and its delay, and frames flow on between guests that
# noticed nothing.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local lan = provium:bridge("lan")
local a, b, c = provium:vm("a", "default"), provium:vm("b", "default"), provium:vm("c", "default")
lan:attach({ a, b })
provium:boot()
lan:attach(c)
lan:partition(a, c)
lan:add_latency({ from = a, to = b, ms = 30 })
test("goes on", function(t)
    a:run("sleep 6"):assert_ok()
    local best = a:run("ping -c 3 b.lan"):assert_ok().stdout:match("min/avg/max = ([%d.]+)")
    t:assert(tonumber(best) >= 30, best)
    b:run("ping -c 1 c.lan"):assert_ok()
    t:assert(not a:run("ping -c 1 -W 1 c.lan"):ok())
    lan:restore_all()
    a:run("ping -c 1 c.lan"):assert_ok()
    local wan = provium:bridge("wan")
    wan:attach({ a, c })
    a:run("ping -c 1 c.wan"):assert_ok()
end)
LUA
"$provium" run --cpus 8 --psi-threshold 0 --journal="$work/run" . >out 2>err &
pid=$!
sleeping() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	"$provium" journal show run 2>/dev/null | grep -q 'sleep 6'
}
until_true "the guest sleeps" sleeping
kill -9 $pid
wait $pid || true
expect 0 timeout 200 "$provium" resume run
says out "1 passed"
! find "$XDG_RUNTIME_DIR" -name 'nic*' | grep . || fail "sockets of NICs are left"
passed
