# A profile that is not configured: says which there are, and which was probably meant.
. "$(dirname "$0")/../../lib/harness.sh"
profile
printf 'local vm = provium:vm("a", "defalt")\n' >a.test.lua
expect 1 "$provium" run .
says out "a.test.lua:1: lab:vm: unknown profile \"defalt\""
says out "\"default\""
passed
