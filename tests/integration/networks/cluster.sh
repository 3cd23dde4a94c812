# The lab fixture of the reference page of snapshots: VMs that are up are attached to a bridge by an array. Its clones reach each other by name, each in
# a network of its own with the same addresses; what is cut in one is whole in the others.
. "$(dirname "$0")/../../lib/harness.sh"
profile 'accel = "tcg"' 'memory = "128M"'
mkdir fixtures
cat >fixtures/cluster.fixture.lua <<'LUA'
provium:bridge("lan")
local a = provium:vm("a", "default"):boot()
local b = provium:vm("b", "default"):boot()
provium.lan:attach({a, b})
return provium:snapshot()
LUA
cat >a.test.lua <<'LUA'
local function address(vm) return vm:run("grep -w b.lan /etc/hosts"):assert_ok().stdout end
test("cluster fixture brings two VMs", function(t)
    local cluster = provium:lab_fixture("fixtures/cluster")
    cluster.a:run("ping -c 1 b.lan"):assert_ok()
end)
test("clones side by side", function(t)
    local clones = {}
    local tasks = {}
    for i = 1, 3 do
        tasks[i] = co.spawn(function() clones[i] = provium:lab_fixture("fixtures/cluster") end)
    end
    for _, task in ipairs(tasks) do task:join() end
    clones[2].lan:partition("a", "b")
    for i, clone in ipairs(clones) do
        t:assert_eq(address(clone.a), address(clones[1].a))
        t:assert_eq(clone.a:run("ping -c 1 -W 2 b.lan"):ok(), i ~= 2)
    end
end)
LUA
expect 0 "$provium" run --cpus 16 --psi-threshold 0 --journal=run a.test.lua
says out '2 passed'
passed
