# The runner is killed while the memory of a VM is copied, and while a VM is restored. Resumed, the run goes on as if nothing had been; stopped, nothing of it is
# left, in the directory of the run or beside a path that the test named.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default", { memory = "256M" }):boot()
test("copies much", function(t)
    -- so that the copy takes long enough to be hit
    vm:run("head -c 20000000 /dev/urandom > /tmp/x"):assert_ok()
    local snap = vm:snapshot()
    vm:shutdown()
    vm:restore(snap)
    t:assert(vm:run("true"):ok())
    local saved = provium:lab("l")
    saved:include(vm)
    local dir = io.open("dir"):read("l")
    saved:snapshot(dir)
    saved:restore(dir)
    t:assert(vm:run("true"):ok())
end)
LUA
printf '%s\n' "$work/saved" >dir

# begun OP N: the journal has N intents of OP.
begun() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early: $(cat err)"
	[ "$("$provium" journal show run 2>/dev/null | grep -c " $1 ")" -ge "$2" ]
}

# kill_in PATTERN N: a run that is killed right behind the Nth line of its journal with that pattern.
kill_in() {
	rm -rf run saved
	"$provium" run --psi-threshold 0 --journal=run a.test.lua >out 2>err &
	pid=$!
	until_true "$1 begins" begun "$1" "$2"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true
}

# resumed: false while a child that the runner had just forked still has its lock.
resumed() {
	code=0
	"$provium" resume run >out 2>err || code=$?
	! grep -q "is in use by process" err
}

for at in "snapshot to:1" "restore from:1" "snapshot to:2" "restore from:2"; do
	kill_in "${at%:*}" "${at#*:}"
	until_true "the run is free" resumed
	[ "$code" = 0 ] || fail "exit code $code of resume"
	says out "1 passed"
	[ -e saved/lab.json ] && [ -e saved/a.snap ] || fail "the lab is not there: $(ls -A saved)"
	[ -z "$(find . -name '*.tmp-*')" ] || fail "left behind: $(find . -name '*.tmp-*')"
	[ ! -e run/snapshots ] || fail "temporary snapshots are left"
	expect 0 "$provium" audit run
done

kill_in "snapshot to" 1
expect 0 "$provium" stop "$work/run"
[ ! -e run/snapshots ] || fail "stopped, and left: $(find run/snapshots)"
passed
