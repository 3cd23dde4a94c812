# A runner that was killed leaves a journal that exports as far as it got: what began has no end in the event channel, and an end with an error in
# the trace.
. "$(dirname "$0")/../../lib/harness.sh"
profile
check=$PV_TEST_BIN/check_export
cat >a.test.lua <<'LUA'
test("done", function() end)
test("waits", function() wait_until(function() return false end, { timeout = 100 }) end)
LUA
"$provium" run --journal="$work/run" . >out 2>err &
runner=$!
tries=0
until "$provium" journal export "$work/run" --format jsonl 2>/dev/null | grep -q '"name":"waits"'; do
	tries=$((tries + 1))
	[ $tries -lt 300 ] || fail "the second test did not start"
	sleep 0.1
done
expect 0 "$provium" journal export "$work/run" --format jsonl # also while it runs
kill -9 $runner
wait $runner 2>/dev/null || true
expect 0 "$provium" journal export "$work/run" --format jsonl
says out '"kind":"test_passed"'
says out '"name":"waits"'
never_says out '"kind":"file_completed"'
expect 0 "$provium" journal export "$work/run" --format otlp-json
mv out trace
"$check" otlp-json <trace >checked || fail "$(cat checked)"
[ "$(cat checked)" = 4 ] || fail "not run, file and two tests: $(cat checked)"
says trace 'the run did not end in order'
passed
