# What is refused, in the words of the API, and what a failure leaves: the VMs as they were, and no file.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default", { memory = "128M" }):boot()
vm:write_file("/tmp/a.log", "x")

test("a stream", function(t)
    local tail = vm:tail_file("/tmp/a.log")
    t:log(t:assert_raises(function() vm:snapshot() end))
end)

test("a call in flight", function(t)
    local job = co.spawn(function()
        vm:run("sleep 2")
    end)
    t:log(t:assert_raises(function() vm:snapshot() end))
    job:join()
    t:assert(vm:snapshot():size() > 0)
end)

test("a lab", function(t)
    local lab = provium:lab("l")
    lab:include(vm)
    local b = lab:lab("in"):vm("b", "default", { memory = "128M" }):boot()
    local tail, console = vm:tail_file("/tmp/a.log"), b:console():read()
    t:log(t:assert_raises(function() lab:snapshot() end))
    t:assert_eq(vm:state(), "booted")
end)

test("a disk that is full", function(t)
    local text = t:assert_raises(function() vm:snapshot("/dev/full/x.snap") end)
    t:assert_contains(text, "vm:snapshot: ")
    text = t:assert_raises(function() provium:lab("l"):snapshot("no/such/dir") end)
    t:assert_contains(text, "lab:snapshot: ")
    t:assert(vm:run("true"):ok())
end)

test("a set of which one is damaged", function(t)
    local lab = provium:lab("l")
    lab:include(vm)
    lab:vm("b", "default", { memory = "128M" }):boot()
    local saved = lab:snapshot()
    local file = io.open(saved:path() .. "/b.snap", "r+")
    file:seek("end", -3)
    file:write("XXX")
    file:close()
    t:log(t:assert_raises(function() lab:restore(saved) end))
    t:assert_eq(vm:state(), "booted")
    t:assert_eq(lab.b:state(), "booted")
end)
LUA
expect 0 "$provium" run --psi-threshold 0 --journal=run a.test.lua
"$provium" journal show run >shown
says out "5 passed"
says shown 'vm:snapshot() refused: live streams'
says shown '  - tail_file("/tmp/a.log") at a.test.lua:5'
says shown 'vm:snapshot() refused: operations in flight'
says shown '  - run at a.test.lua:11'
says shown 'lab:snapshot() refused: live streams'
says shown '  - console_stream at a.test.lua:22, VM "b"'
says shown 'lab:restore: b: '
[ ! -e run/snapshots ] || fail "temporary snapshots are left: $(find run/snapshots)"
[ -z "$(find . -name '*.tmp-*')" ] || fail "half-made files are left: $(find . -name '*.tmp-*')"
passed
