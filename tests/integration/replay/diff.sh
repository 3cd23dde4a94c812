# Two runs of the same lab are the same, however their files mix; what a guest says differently is found, and so is another verdict.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:lab("dc"):vm("a", "default"):boot()
test("steady", function(t)
    vm:run("echo same"):assert_ok()
    local jobs = {}
    for i = 1, 3 do
        jobs[i] = co.spawn(function() vm:run("sleep 0." .. (4 - i) .. "; echo " .. i) end)
    end
    for i = 1, 3 do jobs[i]:join() end
end)
LUA
echo 'test("no VM", function(t) t:log("x") end)' >b.test.lua
expect 0 "$provium" run --journal=one --jobs 2 .
expect 0 "$provium" run --journal=two --jobs 1 .
expect 0 "$provium" replay one --diff two
says out 'the runs are the same'
says out 'seed: '
expect 0 "$provium" replay one --diff two --json
says out '"same":true'

sed -i 's/echo same/cat \/proc\/sys\/kernel\/random\/uuid/' a.test.lua
expect 0 "$provium" run --journal=three .
expect 3 "$provium" replay one --diff three
says out 'the runs part at vm dc/a of a.test.lua (task test steady)'
says out 'a.test.lua:3: run '
says out 'call_started.run.argv[2] = echo same'
says out 'source of a.test.lua: '
expect 0 "$provium" run --journal=four .
expect 3 "$provium" replay three --diff four
says out 'call_ended.run.stdout_data.data = '

sed -i 's/cat .*uuid/false/' a.test.lua
expect 1 "$provium" run --journal=five .
expect 0 "$provium" run --journal=six --filter b.test .
expect 3 "$provium" replay three --diff five --json
says out '"field":"test_ended.verdict"'
expect 3 "$provium" replay six --diff five
says out 'the runs part at file a.test.lua, which only five has'
expect 2 "$provium" replay one --diff nobody
expect 2 "$provium" replay one --diff two --slow
passed
