# A script that uses all that could differ from process to process makes the same events in two: keys, ids, sorting, random numbers, errors, maps that
# become events. Only what it took in from the host may differ, and a script that shows such a thing is told apart.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cp "$(dirname "$0")/all.test.lua" "$(dirname "$0")/helper.lua" .
expect 1 "$provium" run --seed 5 --journal="$work/one" all.test.lua
expect 1 "$provium" run --seed 5 --journal="$work/two" all.test.lua
expect 0 "$PV_TEST_BIN/same_events" one two
[ "$(sed -n 's/ events are the same//p' out)" -gt 300 ] || fail "few events"

printf 'test("differs", function(t) t:log(os.clock()) end)\n' >clock.test.lua
expect 0 "$provium" run --seed 5 --journal="$work/three" clock.test.lua
expect 0 "$provium" run --seed 5 --journal="$work/four" clock.test.lua
expect 1 "$PV_TEST_BIN/same_events" three four
says err test_logged
passed
