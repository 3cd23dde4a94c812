# A guest that announces a frame of 2 GiB: refused without allocating, the VM is dead, the run goes on.
. "$(dirname "$0")/../../lib/harness.sh"
profile
mkdir bin
cp "$PV_TEST_BIN/provium" bin/
cp "$PV_TEST_BIN/rogue_agent" bin/provium-agent
provium=$work/bin/provium
cat >a.test.lua <<'LUA'
provium:vm("a", "default", { kernel_cmdline = "console=ttyS0 rogue=frame2g" }):boot()
LUA
printf 'test("fine", function(t) t:assert(true) end)\n' >b.test.lua
expect 1 "$provium" run .
says out "FAIL a.test.lua"
says out "vm:boot:"
says out "2147483648"
says out "PASS b.test.lua"
passed
