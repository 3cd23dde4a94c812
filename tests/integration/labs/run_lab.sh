# Runs one lab, which must pass, and checks its journal: `run_lab.sh PATH`.
lab=$1
. "$(dirname "$0")/../../lib/harness.sh"
profile
cp "$lab" .
expect 0 "$provium" run -v .
never_says out SKIP
passed
