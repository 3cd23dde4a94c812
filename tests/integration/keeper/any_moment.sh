# kill -9 of the runner at moments all over its start and the boot of its VMs: whatever there is by then is ended, and nothing is left.
. "$(dirname "$0")/../../lib/harness.sh"
profile 'accel = "tcg"'
cat >a.test.lua <<'LUA'
test("boots", function(t)
    provium:vm("a", "default")
    provium:vm("b", "default")
    provium:boot()
end)
LUA
quiet() { gone "provium-keeper.*$work" && gone "qemu-system.*$work"; }
with_vms=0
for after in 0.01 0.02 0.03 0.04 0.06 0.08 0.09 0.10 0.11 0.12 0.13 0.14 0.15 0.17 0.20 0.30 0.60; do
	"$provium" run --no-preflight --no-templates --orphan-timeout 0 --journal="$work/run$after" . >out 2>err &
	pid=$!
	sleep $after
	kill -9 $pid
	wait $pid || true
	until_true "the keeper ends (killed after $after s)" quiet
	[ -z "$(find "$work" -type s)" ] || fail "sockets are left (killed after $after s): $(find "$work" -type s)"
	! grep -qs "connected to its monitor" "run$after/keeper.log" || with_vms=$((with_vms + 1))
	# Killed while it made its journal: there is nothing to audit, which the audit says.
	if [ -e "run$after/journal.mdb" ] && ! "$provium" audit "run$after" >out 2>&1; then
		says out "the journal has no readable start"
		rm -rf "run$after"
	fi
done
[ $with_vms -gt 0 ] || fail "no run came as far as a VM"
passed
