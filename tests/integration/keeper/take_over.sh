# kill -9 of the owner of a machine in the middle of a command: another process takes the machine over, in which no time has passed, and gets
# the outcome of the same command, which has run once.
. "$(dirname "$0")/../../lib/harness.sh"
mkdir -m 700 vm vm/v1
"$PV_TEST_BIN/take_over" own "$work/vm" "$PV_TEST_BIN" >own.out 2>err &
pid=$!
until_says own.out READY $pid
kill -9 $pid
wait $pid || true
paused() { "$PV_TEST_BIN/qmp_ask" vm/v1/qmp.sock query-status >status && grep -q '"status": "paused"' status; }
until_true "the VM is paused" paused
sleep 5 # more than the command takes: time that must not pass in the guest
read -r _ qemu ticks uuid console uptime <own.out
# The wrong start time, the wrong UUID: left alone.
expect 1 "$PV_TEST_BIN/take_over" take "$work/vm" "$PV_TEST_BIN" "$qemu" $((ticks + 1)) "$uuid" "$console"
says err "was started at tick"
expect 1 "$PV_TEST_BIN/take_over" take "$work/vm" "$PV_TEST_BIN" "$qemu" "$ticks" 00000000-0000-4000-8000-000000000000 "$console"
says err "is another machine"
kill -0 "$qemu" || fail "a foreign QEMU was killed"
# A runner that gave up says goodbye or is gone; the keeper is there as long as it was not told to leave.
expect 0 "$PV_TEST_BIN/take_over" take "$work/vm" "$PV_TEST_BIN" "$qemu" "$ticks" "$uuid" "$console"
says out "attached"
says out "count 1"
says out "same boot"
later=$(sed -n 's/^uptime //p' out)
[ $((later - uptime)) -lt 5 ] || fail "time has passed in the guest: $uptime s, then $later s"
passed
