# Runs one lab, which must pass, and checks its journal: `run_lab.sh PATH`.
lab=$1
. "$(dirname "$0")/../../lib/harness.sh"
profile
cp "$lab" .
expect 0 "$provium" run -v --cpus 8 . # more than CI's machine has: guests share them
never_says out SKIP
passed
