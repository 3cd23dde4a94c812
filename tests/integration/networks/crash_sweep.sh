# The sweep of ../resume/crash_sweep.sh over bridges: wherever the runner is killed, rules, NICs and names are as the script left them.
here=$(cd "$(dirname "$0")" && pwd)
export SWEEP_LUA="$here/sweep.lua" SWEEP_LEAST=60 SWEEP_STEP="${SWEEP_STEP:-30}"
exec sh "$here/../resume/crash_sweep.sh"
