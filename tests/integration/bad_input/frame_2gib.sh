# A guest that announces a frame of 2 GiB: refused without allocating, the VM is dead, the run goes on.
. "$(dirname "$0")/../../lib/harness.sh"
profile
rogue frame2g
expect 1 "$provium" run .
says out "FAIL a.test.lua"
says out "vm:boot:"
says out "2147483648"
says out "PASS b.test.lua"
passed
