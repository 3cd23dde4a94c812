# kill -9 of the runner: its VM stays (paused by the keeper), what was committed can be read, and the journal says that the run has no end.
. "$(dirname "$0")/../../lib/harness.sh"
start_waiting
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
until_true "the keeper, which has nothing left to do, ends" gone "provium-keeper.*$work"
passed
