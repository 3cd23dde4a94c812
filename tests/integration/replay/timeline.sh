# The timeline of a real run with its filters, and the lab at moments of it.
. "$(dirname "$0")/../../lib/harness.sh"
profile
mkdir -p tests/net
cat >tests/net/a.test.lua <<'LUA'
provium:claim({memory = "300M", cpus = 1})
local dc = provium:lab("dc")
local vm = dc:vm("node", "default"):boot()
dc:bridge("lan")
test("answers", function(t)
    t:log("one\27[31m")
    vm:run("sleep 0.3; echo hi"):assert_ok()
end)
test("answers not", function(t)
    vm:run("false"):assert_ok()
end)
LUA
echo 'test("other", function(t) t:log("x") end)' >tests/net/b.test.lua
expect 1 "$provium" run --journal=run tests
expect 0 "$provium" replay run
says out 'vm dc/node      boot done: '
says out '@a.test.lua:3'
says out 'log: one\x1b[31m'
lines=$(wc -l <out)

# -- filters: each gives less than all, and only what it says
only() { # PATTERN FLAG...: every line has PATTERN
	pattern=$1
	shift
	expect 0 "$provium" replay run "$@"
	[ -s out ] || fail "nothing for: $*"
	[ "$(wc -l <out)" -lt "$lines" ] || fail "not filtered: $*"
	! grep -qv -- "$pattern" out || fail "lines that do not belong for: $*"
}
only 'b\.test\.lua' --file b.test
only 'b\.test\.lua' --file tests/net/b.test.lua
only 'answers' --test answers
only 'answers not' --test 'answers not'
only 'vm dc/node' --object node
only 'vm dc/node' --object 'vm dc/node'
only 'bridge dc/lan' --object lan
only 'boot' --kind boot
only 'test begins' --kind test_started
only 'run ' --kind run --test 'answers not' --object node
expect 0 "$provium" replay run --object nobody
[ ! -s out ] || fail "an object that is not there has events"
expect 2 "$provium" replay run --kind test_end
says err 'did you mean test_ended?'

# -- longest first
only '\[' --slow
"$provium" replay run --slow --json >slow
[ "$(head -n 1 slow | grep -c run_ended)" = 1 ] || fail "the whole run is not what took longest"
sed 's/.*"duration_ns":\([0-9]*\).*/\1/' slow >durations
sort -rn durations | cmp -s - durations || fail "--slow does not sort by duration"

# -- JSON: a line an event, in order, each an object
"$provium" replay run --json >json
[ "$(wc -l <json)" = "$lines" ] || fail "--json has another number of lines"
[ "$(sed 's/^{"seq":\([0-9]*\),"t_ns":[0-9]*.*}$/\1/' json | tr '\n' ' ')" = "$(seq -s ' ' "$lines") " ] || fail "a line is no event"
says json '"site":"tests/net/a.test.lua:3"'

# -- the lab at one moment
expect 0 "$provium" replay run --at 'answers not'
says out 'claim: 300 MiB, 1 vCPU'
says out 'in test: answers not'
says out '      vm node  booted  profile default'
boot=$(sed -n 's/^{"seq":\([0-9]*\),.*"kind":"call_started","op":"boot".*/\1/p' json)
expect 0 "$provium" replay run --at "$boot"
says out "after event $boot,"
says out 'vm node  created'
says out 'boot in flight'
expect 0 "$provium" replay run --at 600s
says out 'run '
says out '  ended'
never_says out 'vm node'
time=$(sed -n "s/^{\"seq\":$boot,\"t_ns\":\([0-9]*\).*/\1/p" json)
expect 0 "$provium" replay run --at "$((time / 1000000 + 1))ms"
says out 'boot in flight'
expect 0 "$provium" replay run --at "$boot" --json
says out "{\"seq\":$boot,"
says out '"name":"node","profile":"default","state":"created"'
expect 0 "$provium" replay run --at "$boot" --dot
says out 'graph provium {'
expect 2 "$provium" replay run --at 'answers nott'
says err 'did you mean "answers not"?'
expect 2 "$provium" replay run --at 0.000001s
says err 'nothing had happened yet'
expect 2 "$provium" replay run --at 1 --slow
expect 2 "$provium" replay run --dot
passed
