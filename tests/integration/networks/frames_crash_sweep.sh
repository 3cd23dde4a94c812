# The sweep of ../resume/crash_sweep.sh over frames in a snapshot of a lab: wherever the runner is killed, no bridge stands still afterwards, and what was saved
# and not yet on its way again is not lost.
here=$(cd "$(dirname "$0")" && pwd)
[ -n "${SWEEP_STEP:-}" ] || export SWEEP_FIRST=31 SWEEP_STEP=20 # some of the snapshot, of the restore, of the end
export SWEEP_LUA="$here/frames_sweep.lua" SWEEP_LEAST=30 SWEEP_SLACK=22 SWEEP_CHECK="$here/frames_kept.awk"
exec sh "$here/../resume/crash_sweep.sh"
