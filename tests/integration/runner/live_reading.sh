# A second process follows a journal that is being written.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default"):boot()
test("one", function(t) for i = 1, 20 do vm:run("true") end end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
pid=$!
tries=0
until [ -e run/journal.mdb ]; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || fail "no journal"
	sleep 0.02
done
timeout 60 "$provium" journal show -f run >followed
wait $pid || fail "the run failed"
"$provium" journal show run >afterwards
cmp followed afterwards || fail "what was followed live differs from what is there afterwards"
says followed "run passed"
passed
