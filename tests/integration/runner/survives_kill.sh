# kill -9 of the runner: its VM goes on, what was committed can be read, and the journal says that the run has no end.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default"):boot()
test("waits", function(t)
    vm:write_file("/tmp/mark", "here")
    io.stderr:write("WAITING\n")
    vm:run("sleep 1000")
end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
pid=$!
until_says err WAITING $pid
tries=0
until "$provium" journal show run | grep -q 'sleep 1000'; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || fail "the intent was never committed"
	sleep 0.1
done
kill -9 $pid
wait $pid || true
qemu=$(pgrep -f -- "qemu-system.*$work" || true)
[ -n "$qemu" ] || fail "QEMU died with the runner"
"$provium" journal show run >events
says events sleep
never_says events "file failed" # no end was written
"$provium" replay run >timeline
says timeline "write_file done"
kill -9 $qemu
while kill -0 $qemu 2>/dev/null; do sleep 0.05; done
find "$work" -type s -delete # no runner is left to do it
passed
