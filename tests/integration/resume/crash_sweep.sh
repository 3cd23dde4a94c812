# Kills the runner before and behind its commits, resumes, and wants the report of a run that nobody disturbed. What the lab does in its guest
# is in the guest's own log, which its last test reads: each thing is there once. SWEEP_STEP=N takes every Nth commit only; all of them
# (`tools/dev crash-sweep`) take some ten minutes.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../lib/harness.sh"
step=${SWEEP_STEP:-9}
preload=$PV_TEST_BIN/crash_at.so
profile
cp "${SWEEP_LUA:-$here/sweep.lua}" sweep.test.lua

# crash DIRECTORY VARIABLE: the lab, with the crash that the variable asks for; its exit code in $code.
crash() {
	code=0
	env ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD="$preload" "$2" "$provium" run --cpus 8 --journal="$1" sweep.test.lua >out 2>err || code=$?
}

# The report without its times.
report() {
	sed 's/; [0-9.]*s$//' out
}

# try N SIDE: false if the run had ended by then. Outcomes that come together share a commit, so their number varies a little.
try() {
	crash "crash-$1-$2" CRASH_AT="$1:$2"
	[ "$code" = 0 ] && return 1
	[ "$code" = 137 ] || fail "exit code $code of the run that was to be killed"
	code=0
	"$provium" resume "crash-$1-$2" >out 2>err || code=$?
	if [ "$code" = 2 ]; then
		says err "nothing to resume: the run has ended in order"
		return 1
	fi
	[ "$code" = 0 ] || fail "killed $2 commit $1: exit code $code of resume"
	report >got
	diff wanted got >&2 || fail "killed $2 commit $1: another report than that of an undisturbed run"
	expect 0 "$provium" audit "crash-$1-$2"
	expect 0 "$provium" replay --script "crash-$1-$2"
	if [ -n "${SWEEP_CHECK:-}" ]; then
		"$provium" journal show "crash-$1-$2" >shown
		awk -f "$SWEEP_CHECK" shown || fail "killed $2 commit $1: $SWEEP_CHECK"
	fi
	rm -rf "crash-$1-$2"
}

crash undisturbed CRASH_COUNT="$work/count"
[ "$code" = 0 ] || fail "the lab itself fails"
report >wanted
commits=$(cut -d' ' -f1 count)
[ "$commits" -gt "${SWEEP_LEAST:-50}" ] || fail "only $commits commits: the lab does too little"

# The first two commits make the journal: the run has not begun.
at=${SWEEP_FIRST:-3}
tried=0
while try "$at" before && try "$at" after; do
	at=$((at + step))
	tried=$((tried + 2))
done
[ "$at" -ge $((commits - step - ${SWEEP_SLACK:-3})) ] || fail "the sweep ended at commit $at of $commits"
printf '%s crashes survived\n' "$tried"
passed
