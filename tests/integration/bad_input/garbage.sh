# A guest that floods the channel with noise: bounded, told, ended.
. "$(dirname "$0")/../../lib/harness.sh"
profile
mkdir bin
cp "$PV_TEST_BIN/provium" bin/
cp "$PV_TEST_BIN/rogue_agent" bin/provium-agent
provium=$work/bin/provium
cat >a.test.lua <<'LUA'
provium:vm("a", "default", { kernel_cmdline = "console=ttyS0 rogue=garbage" }):boot()
LUA
printf 'test("fine", function(t) t:assert(true) end)\n' >b.test.lua
expect 1 "$provium" run .
says out "FAIL a.test.lua"
says out "vm:boot:"
says out "without a frame"
says out "PASS b.test.lua"
passed
