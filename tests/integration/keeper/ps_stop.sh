# The VM of a killed runner: `ps` shows it, `stop` ends it, nothing is left, and the record says so. A live run is refused.
. "$(dirname "$0")/../../lib/harness.sh"
start_waiting store
run=$(basename "$(echo state/provium/runs/*)")
expect 0 "$provium" ps
[ ! -s out ] || fail "ps shows a VM that has a runner"
expect 2 "$provium" stop "$run"
says err "run $run is live: interrupt its runner (kill -INT $pid)"
kill -9 $pid
wait $pid || true
qemu=$(pgrep -f -- "qemu-system.*$work") || fail "QEMU died with the runner"
shown() { "$provium" ps >out && grep -q "^$run/a  *$qemu  paused" out; }
until_true "ps shows the VM" shown
expect 2 "$provium" stop "$run/b"
says err "has left no VM b"
expect 2 "$provium" stop
says err "which RUN"
kill -0 "$qemu" || fail "the VM was ended"
expect 0 "$provium" stop "$run/a"
says out "ended: $run/a (process $qemu)"
gone "qemu-system.*$work" || fail "stop came back before QEMU had ended"
until_true "the keeper ends" gone "provium-keeper.*$work"
expect 0 "$provium" ps
[ ! -s out ] || fail "ps still shows it"
"$provium" replay last >timeline
says timeline "ended by provium stop"
expect 2 "$provium" stop last
says err "has left no VMs"
passed
