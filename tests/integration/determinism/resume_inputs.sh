# kill -9 of the runner while a script has files open and a command of the host runs: the run that goes on writes on where it was, does nothing twice, and
# says that nobody knows what became of the command.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'END'
local seen = os.getenv("PV_SEEN")
test("goes on", function(t)
	local cut = assert(io.open("cut", "w")) cut:write("one ")
	local appended = assert(io.open("appended", "a")) appended:write("one\n")
	local temporary = assert(io.tmpfile()) temporary:write("x")
	print("printed before")
	os.rename("before", "after")
	local ok, how, code = os.execute("echo >>started; sleep 3.0217")
	t:log(tostring(ok) .. how .. code)
	t:assert_eq(seen, "first")
	cut:write("two") appended:write("two\n") cut:close() appended:close()
	t:assert_contains(select(2, temporary:write("y")), "gone with the runner")
	t:assert_eq(how, "lost")
end)
END
echo >before
PV_SEEN=first "$provium" run --journal="$work/run" a.test.lua >out 2>err &
pid=$!
until [ -s started ]; do
	kill -0 $pid || fail "the runner has ended"
	sleep 0.05
done
kill -9 $pid
wait $pid || true
says out "printed before"
PV_SEEN=second expect 0 "$provium" resume run
never_says out "printed before"
[ "$(cat cut)" = "one two" ] || fail "cut holds: $(cat cut)"
[ "$(cat appended)" = "one
two" ] || fail "appended holds: $(cat appended)"
[ "$(wc -l <started)" = 1 ] || fail "the command was started again"
[ -e after ] || fail "the rename is undone"
"$provium" replay run >timeline
says timeline "log: nillost0"
until_true "the command, which outlives its runner, ends" gone "sleep 3.0217"
passed
