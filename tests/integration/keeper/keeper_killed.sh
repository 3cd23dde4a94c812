# kill -9 of the keeper: the runner says so and starts another, which looks after the same VM.
. "$(dirname "$0")/../../lib/harness.sh"
start_waiting --orphan-timeout 2s
first=$(pgrep -f "provium-keeper.*$work") || fail "no keeper runs"
kill -9 "$first"
until_true "the runner tells" grep -q "provium-keeper was lost" err
another() { second=$(pgrep -f "provium-keeper.*$work") && [ "$second" != "$first" ]; }
until_true "another keeper runs" another
until_true "it knows the VM" sh -c 'grep -c "is process" run/keeper.log | grep -q 2'
kill -9 $pid
wait $pid || true
until_true "the keeper has cleaned up" gone "provium-keeper.*$work"
says run/keeper.log "VM a is paused"
gone "qemu-system.*$work" || fail "QEMU is left"
passed
