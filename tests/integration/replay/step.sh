# The viewer on a real terminal: keys in, screen out; and the terminal is as it was before, whatever ends the viewer.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("node", "default"):boot()
test("answers", function(t)
    vm:run("echo hello"):assert_ok()
end)
test("fails", function(t)
    vm:run("false"):assert_ok()
end)
LUA
expect 1 "$provium" run --journal=run .

# on ROWS COLS <STEPS: the viewer takes these steps
on() {
	"$PV_TEST_BIN/pty_screen" "$1" "$2" "$provium" replay run --step >out 2>err || fail "the viewer did not do as it should"
}

on 40 130 <<'STEPS'
wait task failed
wait the lab after event
wait vm node  booted
wait >   6      vm:run("false"):assert_ok()
wait console of vm node
keys E
wait no earlier event tells of a failure
keys e
wait : test_ended
keys g
wait event 1 of
wait run_started
keys /hello\r
wait run /bin/sh -c echo hello
wait source a.test.lua:3
keys \e[B
wait   | hello
keys x
wait 68 65 6c 6c 6f 0a
keys fobject=node\r
wait timeline (filtered)
keys \e[H
wait VM declared
wait vm node  created
keys f\r
keys :answers\r
wait in test: answers
size 24 70
wait event
keys \t
wait the lab after event
size 30 120
wait console of vm node
keys ?
wait next failure
keys ?
keys q
ends 0
STEPS

# -- whatever ends it
on 24 80 <<'STEPS'
wait task failed
signal 15
dies 15
STEPS
on 24 80 <<'STEPS'
wait task failed
signal 2
ends 130
STEPS
on 24 80 <<'STEPS'
wait task failed
signal 11
dies 11
STEPS
on 24 80 <<'STEPS'
wait task failed
signal 6
dies 6
STEPS
# -- and what stops it for a while
on 24 80 <<'STEPS'
wait task failed
signal 20
stopped
signal 18
keys g
wait run_started
keys q
ends 0
STEPS

# -- without a terminal
expect 2 "$provium" replay run --step
says err 'it needs a terminal'
expect 2 "$provium" replay run --step --slow
passed
