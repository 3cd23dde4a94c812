# The sweep of ../resume/crash_sweep.sh over snapshots and restores: wherever the runner is killed, a VM is saved whole or again, restored again, and the snapshot
# of a lab goes on at the call it was in.
here=$(cd "$(dirname "$0")" && pwd)
export SWEEP_LUA="$here/sweep.lua" SWEEP_LEAST=40
exec sh "$here/../resume/crash_sweep.sh"
