# kill -9 of the runner: the keeper pauses its VM at once, ends it after the orphan timeout, and leaves nothing.
. "$(dirname "$0")/../../lib/harness.sh"
start_waiting --orphan-timeout 4s
sockets=$(readlink run/sockets || echo run)
pgrep -f "provium-keeper.*$work" >keeper || fail "no keeper runs"
[ "$(wc -l <keeper)" = 1 ] || fail "more than one keeper runs"
kill -9 $pid
wait $pid || true
paused() { "$PV_TEST_BIN/qmp_ask" "$sockets/v1/qmp.sock" query-status >status && grep -q '"status": "paused"' status; }
until_true "the VM is paused" paused
says run/keeper.log "runner $pid is gone"
until_true "the keeper ends" gone "provium-keeper.*$work"
gone "qemu-system.*$work" || fail "QEMU is left"
says run/keeper.log "nobody has come for the VMs"
[ ! -e "$sockets/v1" ] || fail "the sockets of the VM are left"
passed
