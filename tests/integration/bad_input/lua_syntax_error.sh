# A file that is no Lua: the file fails with Lua's message and its line, others still run.
. "$(dirname "$0")/../../lib/harness.sh"
profile
printf 'test("x", function(t)\n  this is not lua\nend)\n' >broken.test.lua
printf 'test("fine", function(t) t:assert(true) end)\n' >fine.test.lua
expect 1 "$provium" run .
says out "FAIL broken.test.lua"
says out "ERROR broken.test.lua:2:"
says out "PASS fine.test.lua (1 passed, 0 failed, 0 skipped)"
says out "2 file(s); 1 passed, 0 failed, 0 skipped;"
passed
