# The ways in which a run ends before its time, and what resuming it does then.
. "$(dirname "$0")/../../lib/harness.sh"
profile

# A lab that waits in the middle of a test until the file "go" is there.
cat >a.test.lua <<'EOF'
local a = provium:vm("a", "default", { memory = "128M" }):boot()
test("first", function(t) a:run("echo first >> /log"):assert_ok() end)
test("middle", function(t)
  a:run("echo middle >> /log"):assert_ok()
  t:log("waits")
  a:run("while ! [ -e /go ]; do sleep 0.05; done", { timeout = 1 })
  t:assert_eq(a:read_file("/log"), "first\nmiddle\n")
end)
test("last", function(t) t:assert(true) end)
EOF
printf 'test("alone", function(t) t:assert(true) end)\n' >b.test.lua

# killed_in DIRECTORY TEXT: a run that is killed when its journal has TEXT.
killed_in() {
	"$provium" run --cpus 8 --jobs 1 --journal="$1" a.test.lua b.test.lua >run.out 2>&1 &
	pid=$!
	tries=0
	until "$provium" journal show "$1" 2>/dev/null | grep -qF -- "$2"; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || fail "the run did not come to: $2"
		sleep 0.05
	done
	kill -9 $pid
	wait $pid || true
}

# Killed in the middle of a test: goes on there; the file behind it is dispatched.
killed_in middle "log: waits"
expect 0 "$provium" resume -v middle
says out "PASS a.test.lua (3 passed, 0 failed, 0 skipped)"
says out "PASS b.test.lua (1 passed, 0 failed, 0 skipped)"
expect 2 "$provium" resume middle
says err "nothing to resume: the run has ended in order"

# Killed twice in the same test: it is not tried a third time, the tests behind it are.
killed_in twice "log: waits"
"$provium" resume twice >run.out 2>&1 &
pid=$!
until "$provium" journal show twice | grep -qF "run resumed" && "$provium" journal show twice | grep -qF "asked again"; do
	kill -0 $pid || fail "resuming ended early"
	sleep 0.02
done
kill -9 $pid
wait $pid || true
expect 1 "$provium" resume -v twice
says out "FAIL middle"
says out "crashed: the runner died twice while this test was running"
says out "PASS last"

# Its VMs are gone, as behind a reboot of the host: the file begins anew, and the report says so.
killed_in gone "log: waits"
expect 0 "$provium" stop gone
expect 0 "$provium" resume --json gone
says err "a.test.lua begins anew"
grep -F '"path":"a.test.lua"' out >line || grep -F '"path": "a.test.lua"' out >line || fail "no JSON of a.test.lua"
grep -qE '"restarted": ?true' line || fail "the JSON does not say that the file was restarted"
grep -qE '"restarted"' out && [ "$(grep -cE '"restarted"' out)" = 1 ] || fail "another file is said to be restarted"

# --force-restart, though everything is there.
killed_in forced "log: waits"
expect 0 "$provium" resume --force-restart forced
says err "begins anew: resumed with --force-restart"

# Interrupted by Ctrl-C: in order, and it can be resumed; what was in flight begins anew.
"$provium" run --cpus 8 --jobs 1 --journal=interrupted a.test.lua b.test.lua >run.out 2>&1 &
pid=$!
until "$provium" journal show interrupted 2>/dev/null | grep -qF "log: waits"; do
	kill -0 $pid || fail "the run ended early"
	sleep 0.05
done
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ] || fail "exit code $code of an interrupted run"
[ -z "$(pgrep -f -- "$work/interrupted")" ] || fail "something is left of the interrupted run"
expect 0 "$provium" resume -v interrupted
never_says out "FAIL" # what it came to before is void
expect 0 "$provium" report interrupted
never_says out "FAIL"
says out "PASS a.test.lua (3 passed, 0 failed, 0 skipped)"
says out "PASS b.test.lua (1 passed, 0 failed, 0 skipped)"

# A run that is at work cannot be resumed.
"$provium" run --cpus 8 --journal=live a.test.lua >run.out 2>&1 &
pid=$!
until "$provium" journal show live 2>/dev/null | grep -qF "log: waits"; do
	kill -0 $pid || fail "the run ended early"
	sleep 0.05
done
expect 2 "$provium" resume live
says err "in use by process $pid"
wait $pid || fail "the run failed"
passed
