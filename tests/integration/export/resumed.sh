# A runner dies inside a test and the run is resumed, in the middle of the file or with it begun anew: in both the event channel keeps its guarantees, one start and
# one end a test, and the trace is whole.
. "$(dirname "$0")/../../lib/harness.sh"
profile
check=$PV_TEST_BIN/check_export
cat >a.test.lua <<'LUA'
test("done", function() end)
test("waits", function() pcall(wait_until, function() return false end, { timeout = 2 }) end)
test("behind", function() end)
LUA
for flag in --quiet --force-restart; do
	run=$work/run$flag
	"$provium" run --journal="$run" . >out 2>err &
	runner=$!
	tries=0
	until "$provium" journal export "$run" --format jsonl 2>/dev/null | grep -q '"name":"waits"'; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || fail "the second test did not start"
		sleep 0.1
	done
	kill -9 $runner
	wait $runner 2>/dev/null || true
	"$provium" journal export "$run" --bundle killed$flag
	expect 2 "$provium" resume killed$flag
	says err "is a bundle"
	expect 0 "$provium" resume $flag "$run"
	expect 0 "$provium" journal export "$run" --format jsonl
	mv out events
	"$check" jsonl <events >checked || fail "$flag: $(cat checked)"
	[ "$(grep -c test_passed events)" = 3 ] || fail "$flag: not three passed tests: $(cat events)"
	[ "$(grep -c file_dispatched events)" = 1 ] || fail "$flag: not one dispatch"
	expect 0 "$provium" journal export "$run" --format otlp-json
	"$check" otlp-json <out >checked || fail "$flag: $(cat checked)"
	"$provium" journal merge -o "merged$flag" "$run" || fail "the resumed run cannot be merged"
done
passed
