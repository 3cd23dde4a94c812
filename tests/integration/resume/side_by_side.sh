# Two files are in flight, with a VM each, when the runner is killed; and the runner that resumes them is killed as well, while it goes through
# the record or soon behind it, in another test than the first time or in none. Each goes on where it was.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../lib/harness.sh"
preload=$PV_TEST_BIN/crash_at.so
profile
cp "$here/sweep.lua" a.test.lua
cp "$here/sweep.lua" b.test.lua

# The report without its times, in the order of the names: files that run side by side end in any order.
report() {
	sed 's/; [0-9.]*s$//' out | sort
}

expect 0 "$provium" run --cpus 8 --psi-threshold 0 --journal=undisturbed .
report >wanted
for at in 25 55 85; do
	code=0
	env ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD="$preload" CRASH_AT=$at:after "$provium" run --cpus 8 --psi-threshold 0 --journal="crash-$at" . >out 2>err || code=$?
	[ $code = 137 ] || fail "exit code $code of the run that was to be killed at commit $at"
	"$provium" journal show "crash-$at" >events
	[ "$(grep -c 'file dispatched' events)" = 2 ] || fail "not both files were in flight at commit $at"
	expect 0 "$provium" resume "crash-$at"
	report >got
	diff wanted got >&2 || fail "killed at commit $at: another report than that of an undisturbed run"
done

# Killed while it resumes, before anything goes on: nothing of that counts as a second crash of a test that was between tests.
env ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD="$preload" CRASH_AT=4:after "$provium" run --cpus 8 --psi-threshold 0 --journal=twice . >out 2>err || true
code=0
env ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD="$preload" CRASH_AT=1:before "$provium" resume twice >out 2>err || code=$?
[ $code = 137 ] || fail "exit code $code of the resume that was to be killed"
expect 0 "$provium" resume twice
report >got
diff wanted got >&2 || fail "killed twice at the start: another report than that of an undisturbed run"
passed
