# The scripts of a run executed again: what may be added, and what is told of a script that does something else than it did.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local lan = provium:bridge("lan")
test("asks the host", function(t)
    local code = select(3, os.execute("exit 3"))
    t:assert_eq(code, 3)
    os.execute("exit 4")
end)
test("goes on", function(t)
    local home = os.getenv("PV_NOTHING")
    t:lab("dc")
end)
LUA
sed -i 's/t:lab/provium:lab/' a.test.lua
expect 0 "$provium" run --journal=run a.test.lua
mkdir new

# changed SED: a.test.lua with a change, to be executed against the record
changed() {
	sed "$1" a.test.lua >new/a.test.lua
	! cmp -s a.test.lua new/a.test.lua || fail "nothing is changed by: $1"
}

# diverges TEXT: at that, with both sides
diverges() {
	expect 3 "$provium" replay --script run new/a.test.lua
	says err 'the script diverges from its record: '
	says err "$1"
}

# -- the recorded source, whatever has become of the file
cp a.test.lua kept
echo 'error("not this one")' >a.test.lua
expect 0 "$provium" replay --script run
says out '2 passed'
mv kept a.test.lua
# other flags: a command's output goes elsewhere then
expect 0 "$provium" replay --script run --json
says out '"passed":true'

# -- what may be added
changed 's/^    t:assert_eq.*/&\n    print("code is", code) t:log(code) t:assert(code > 0) local t2 = {code} for _ = 1, 10 do end/'
expect 0 "$provium" replay --script run new/a.test.lua
says out 'code is	3'
says out '2 passed'
expect 2 "$provium" replay --script run new/b.test.lua
says err 'new/b.test.lua'

# -- an assertion that fails where nothing more was recorded: only the verdict is another one
changed 's/^    os.execute("exit 4")/&\n    t:assert(false, "new")/'
expect 1 "$provium" replay --script run new/a.test.lua
says out 'a.test.lua:6: new'
never_says err diverges

# -- a failing assertion before something that was recorded
changed 's/^    t:assert_eq(code, 3)/    t:assert_eq(code, 5)/'
diverges 'now the task ends, failed: "a.test.lua:4: 3 ~= 5"; recorded (event '
says err '): host_run "exit 4" at a.test.lua:5'

# -- a changed argument
changed 's/exit 4/exit 5/'
diverges 'now host_run "exit 5" at a.test.lua:5; recorded (event '
says err '): host_run "exit 4" at a.test.lua:5; first difference: command: "exit 5" now, "exit 4" then'

# -- a call that is left over, and one too many
changed '/exit 4/d'
diverges 'now the task ends, passed; recorded (event '
says err '): host_run "exit 4" at a.test.lua:5'
changed 's/^    os.execute("exit 4")/&\n    os.getenv("HOME")/'
diverges 'now a call of os.getenv at a.test.lua:6; recorded (event '
says err '): the task ends, passed'
changed 's/^    provium:lab("dc")/    provium:lab("other")/'
diverges 'now the lab "other" is made at a.test.lua:9; recorded (event '
says err '): the lab "dc" is made at a.test.lua:9; first difference: name: "other" now, "dc" then'
changed 's/bridge("lan")/vm("lan", "default")/'
diverges 'now the VM "lan" is declared at a.test.lua:1; recorded (event '
says err '): the bridge "lan" is declared at a.test.lua:1'
changed 's/test("goes on"/test("goes"/'
diverges 'now the test "goes" begins; recorded (event '
says err '): the test "goes on" begins; first difference: name: "goes" now, "goes on" then'
passed
