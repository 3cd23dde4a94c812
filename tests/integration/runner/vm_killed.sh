# QEMU killed from outside: the call that was at work says so, the VM is dead with a reason, others go on.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local a = provium:vm("a", "default")
local b = provium:vm("b", "default")
provium:boot()
test("the call fails and tells", function(t)
    local cut = co.spawn(function() return pcall(a.run, a, "touch /tmp/begun; sleep 1000") end)
    wait_until(function() return a:run("test -e /tmp/begun"):ok() end)
    io.stderr:write("WAITING\n")
    local ok, err = cut:join(60)
    t:assert_eq(ok, false)
    t:assert_contains(tostring(err), "vm:run:")
    t:assert_eq(a:state(), "dead")
    local again = tostring(t:assert_raises(function() a:run("true") end))
    t:assert_contains(again, "dead")
    b:run("true"):assert_ok()
end)
test("it boots again after a shutdown", function(t)
    a:shutdown()
    a:boot()
    a:run("true"):assert_ok()
end)
LUA
"$provium" run . >out 2>err &
pid=$!
until_says err WAITING $pid
pkill -9 -f "qemu-system.*$work.*/1-a" || fail "no QEMU of VM a"
wait $pid || fail "the run failed"
passed
