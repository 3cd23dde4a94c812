# A guest that boots but has no agent: the boot deadline ends it, with the console's tail.
. "$(dirname "$0")/../../lib/harness.sh"
profile 'inject_agent = false'
printf 'provium:vm("a", "default", { wait = "8s" }):boot()\n' >a.test.lua
expect 1 "$provium" run .
says out "a.test.lua:1: vm:boot:"
says out "8 s"
# The tail of its console, however far it has come.
grep -q '^ *\[ *[0-9]*\.[0-9]*\] ' out || fail "nothing of the console is shown"
passed
