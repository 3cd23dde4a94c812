# A kernel that is not there is seen before anything starts.
. "$(dirname "$0")/../../lib/harness.sh"
profile 'kernel = "/nowhere/vmlinuz"'
printf 'provium:vm("a", "default"):boot()\n' >a.test.lua
expect 2 "$provium" run .
says err "/nowhere/vmlinuz"
says err "No such file or directory"
passed
