# The sweep of ../resume/crash_sweep.sh over frames in a snapshot of a lab: wherever the runner is killed, no bridge stands still afterwards, and what was saved
# and not yet on its way again is not lost.
here=$(cd "$(dirname "$0")" && pwd)
export SWEEP_LUA="$here/frames_sweep.lua" SWEEP_LEAST=30 SWEEP_STEP="${SWEEP_STEP:-12}" SWEEP_CHECK="$here/frames_kept.awk"
exec sh "$here/../resume/crash_sweep.sh"
