# SIGINT: running tests fail as interrupted, VMs end, journal and summary are complete, exit 130.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default"):boot()
test("waits", function(t)
    io.stderr:write("WAITING\n")
    vm:run("sleep 1000")
end)
test("never begins", function(t) end)
LUA
"$provium" run . >out 2>err &
pid=$!
until_says err WAITING $pid
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ] || fail "exit code $code, 130 wanted"
says out "FAIL a.test.lua"
says out "interrupted"
says out "1 file(s);"
passed
