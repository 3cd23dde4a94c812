# Runner and keeper both killed: the VM runs on, `ps` says that nobody watches it, and `stop --all` ends it by pid and start time. A process that
# has only the pid is left alone.
. "$(dirname "$0")/../../lib/harness.sh"
start_waiting store
run=$(basename "$(echo state/provium/runs/*)")
keeper=$(pgrep -f "provium-keeper.*$work") || fail "no keeper runs"
# Stopped, it cannot do anything any more when the runner dies.
kill -STOP "$keeper"
kill -9 $pid
wait $pid || true
kill -9 "$keeper"
until_true "the keeper is gone" gone "provium-keeper.*$work"
qemu=$(pgrep -f -- "qemu-system.*$work") || fail "QEMU died with the runner"
expect 0 "$provium" ps
grep -q "^$run/a  *$qemu  unwatched" out || fail "ps does not show it"
expect 0 "$provium" stop --all
says out "ended: $run/a (process $qemu)"
gone "qemu-system.*$work" || fail "QEMU is left"
"$provium" replay last >timeline
says timeline "ended by provium stop"
expect 0 "$provium" ps
[ ! -s out ] || fail "ps still shows it"
passed
