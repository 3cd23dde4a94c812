# An agent that speaks another version of the protocol: both versions are named, and what to do.
. "$(dirname "$0")/../../lib/harness.sh"
profile
rogue version
expect 1 "$provium" run .
says out "FAIL a.test.lua"
says out "vm:boot:"
says out "protocol"
says out "PASS b.test.lua"
passed
