# The sweep of ../resume/crash_sweep.sh over disks: wherever the runner is killed, what was plugged in is known, what was plugged out is gone, and a disk that is
# restored has what it had.
here=$(cd "$(dirname "$0")" && pwd)
export SWEEP_LUA="$here/sweep.lua" SWEEP_LEAST=40 SWEEP_STEP="${SWEEP_STEP:-40}"
exec sh "$here/../resume/crash_sweep.sh"
