# Kills the runner before and behind its commits, resumes, and wants the report of a run that nobody disturbed. What the lab does in its guest
# is in the guest's own log, which its last test reads: each thing is there once. SWEEP_STEP=N takes every Nth commit only; all of them
# take several minutes (`tools/dev crash-sweep`).
. "$(dirname "$0")/../../lib/harness.sh"
lab=$(cd "$(dirname "$0")" && pwd)/sweep.lua
step=${SWEEP_STEP:-9}
preload=$PV_TEST_BIN/crash_at.so
profile
cp "$lab" sweep.test.lua

# run DIRECTORY VARIABLE...: the lab, with the crash that the variables ask for.
run() {
	dir=$1
	shift
	env LD_PRELOAD="$preload" "$@" "$provium" run --cpus 8 --journal="$dir" sweep.test.lua
}

# The report without its times.
report() {
	sed 's/; [0-9.]*s$//' out
}

expect 0 run undisturbed CRASH_COUNT="$work/count"
report >wanted
commits=$(cat count)
[ "$commits" -gt 30 ] || fail "only $commits commits: the lab does too little"

# The first commits make the journal and begin the run: with nothing begun there is nothing to resume.
at=3
while [ "$at" -le "$commits" ]; do
	for side in before after; do
		expect 137 run "crash-$at-$side" CRASH_AT="$at:$side"
		expect 0 "$provium" resume "crash-$at-$side"
		report >got
		diff wanted got >&2 || fail "killed $side commit $at: another report than that of an undisturbed run"
		expect 0 "$provium" audit "crash-$at-$side"
		expect 0 "$provium" replay --script "crash-$at-$side"
		rm -rf "crash-$at-$side"
	done
	at=$((at + step))
done
passed
