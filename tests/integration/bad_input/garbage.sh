# A guest that floods the channel with noise: bounded, told, ended.
. "$(dirname "$0")/../../lib/harness.sh"
profile
rogue garbage
expect 1 "$provium" run .
says out "FAIL a.test.lua"
says out "vm:boot:"
says out "without a frame"
says out "PASS b.test.lua"
passed
