# The reports of a run are the same from its journal; hostile text breaks none; a place that cannot be written is told before anything runs.
. "$(dirname "$0")/../../lib/harness.sh"
command -v xmllint >/dev/null || skip "xmllint (libxml2-utils) is not there"
profile
mkdir sub
cat >sub/a.test.lua <<'LUA'
provium:vm("node", "default"):boot()
test("boots", function(t) t:log("one\ntwo") end)
test("<script>alert('x')</script> \"q\" & ]]> # \\ \27[31m \255 end", function(t)
    t:log("\239\191\191 <b>\0 \240\144")
    t:fail("<i>no</i> \27 \254 & so on\nsecond line")
end)
test("later", {skip = "not <now>"}, function() end)
LUA
echo 'error("broken <chunk> \200")' >b.test.lua
echo 'test("slow", function() while true do end end)' >c.test.lua
echo 'test("fine", function() end)' >d.test.lua

# same FILE FILE...
same() {
	first=$1
	shift
	for file in "$@"; do
		cmp "$first" "$file" || fail "$first and $file differ"
	done
}

mkdir live again
expect 1 "$provium" run --jobs 1 --psi-threshold 0 --timeout 12 --journal=run --json --junit live/j.xml --ctrf live/c.json --html live/h.html .
cp out live/json
expect 1 "$provium" report run --json --junit again/j.xml --ctrf again/c.json --html again/h.html
cp out again/json
for name in json j.xml c.json h.html; do
	same live/$name again/$name
done
expect 1 "$provium" report run
says out 'FAIL sub/a.test.lua (1 passed, 1 failed, 1 skipped)'
says out 'TIME c.test.lua (0 passed, 1 failed, 0 skipped)'
says out '4 file(s); 2 passed, 2 failed, 1 skipped; '
expect 1 "$provium" report run --quiet
never_says out 'PASS'
expect 1 "$provium" report run --verbose
says out '    PASS fine'

# -- each form is what it says it is
xmllint --noout live/j.xml || fail "JUnit: no XML"
[ "$(xmllint --xpath 'string(/testsuites/@tests)' live/j.xml)" = 6 ] || fail "JUnit: tests"
[ "$(xmllint --xpath 'count(//testcase)' live/j.xml)" = 6 ] || fail "JUnit: testcases"
[ "$(xmllint --xpath 'count(//failure)' live/j.xml)" = "$(xmllint --xpath 'string(/testsuites/@failures)' live/j.xml)" ] || fail "JUnit: failures"
[ "$(xmllint --xpath 'count(//error)' live/j.xml)" = "$(xmllint --xpath 'string(/testsuites/@errors)' live/j.xml)" ] || fail "JUnit: errors"
xmllint --xpath 'string(//testcase[2]/@name)' live/j.xml >name
says name "<script>alert('x')</script> \"q\" & ]]>"
xmllint --noout live/h.html || fail "HTML: not well-formed"
never_says live/h.html '<script'
never_says live/h.html 'http:'
never_says live/h.html 'https:'
says live/h.html 'Timeline of the test'
says live/h.html 'vm node'
says live/h.html '&lt;script&gt;alert(&#39;x&#39;)'
says live/c.json '"reportFormat":"CTRF"'
says live/c.json '"tests":6'
! grep -qP '[^\x00-\x7f]' live/json || LC_ALL=C.UTF-8 grep -qxP '.*' live/json || fail "JSON: not UTF-8"

# -- TAP, as the tests end
expect 1 "$provium" run --jobs 1 --psi-threshold 0 --timeout 12 --journal=tap --tap .
cp out live/tap
says err '4 file(s); 2 passed, 2 failed, 1 skipped; '
expect 1 "$provium" report tap --tap
same live/tap out
[ "$(head -n 1 out)" = "TAP version 14" ] || fail "TAP: no version"
[ "$(tail -n 1 out)" = "1..6" ] || fail "TAP: no plan"
[ "$(grep -c '^ok ' out)" = 3 ] || fail "TAP: ok"
[ "$(grep -c '^not ok ' out)" = 3 ] || fail "TAP: not ok"
! grep -qvE '^(TAP version 14|1\.\.6|(not )?ok [0-9]+ - .*|  .*)$' out || fail "TAP: a line that is none"
says out ' # SKIP '

# -- exit codes, and who owns stdout
rm -rf ./*.test.lua sub/a.test.lua
echo 'test("fine", function() print("mine") end)' >d.test.lua
expect 0 "$provium" run --journal=clean --tap .
never_says out mine
expect 0 "$provium" report clean
expect 2 "$provium" report clean --json --tap
expect 2 "$provium" run --json --tap .
expect 2 "$provium" report nobody
expect 2 "$provium" report

# -- what cannot be written is told before anything runs
printf '%s\n' 'io.stderr:write("IT RAN\n") test("fine", function() end)' >d.test.lua
for flag in --junit --ctrf --html; do
	expect 2 "$provium" run --journal=never $flag nowhere/report .
	says err 'nowhere/report cannot be written'
	never_says err 'IT RAN'
	[ ! -e never ] || fail "a run directory was made"
	expect 2 "$provium" run --journal=never $flag sub .
	says err 'it is a directory'
done
expect 2 "$provium" run --journal=never --junit same --html same .
expect 2 "$provium" report clean --junit nowhere/report
expect 2 "$provium" run --no-journal --junit /dev/full .
says err 'report /dev/full: '

# -- without a journal; and nothing selected
expect 0 "$provium" run --no-journal --html page.html .
xmllint --noout page.html
says page.html 'Timeline of the file'
expect 0 "$provium" run --filter nothing --junit empty.xml --tap .
[ "$(xmllint --xpath 'string(/testsuites/@tests)' empty.xml)" = 0 ] || fail "an empty report"
says out '1..0 # SKIP no tests'
[ -z "$(find . -name '*.new-*')" ] || fail "left: $(find . -name '*.new-*')"

# -- interrupted: the reports are completed
printf '%s\n' 'test("waits", function() io.stderr:write("WAITS\n") wait_until(function() return false end, {timeout = 100}) end)' >d.test.lua
"$provium" run --journal=int --tap --junit int.xml . >out 2>err &
pid=$!
until_says err WAITS $pid
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ] || fail "exit code $code after SIGINT"
says out 'Bail out! interrupted'
[ "$(xmllint --xpath 'count(//failure)' int.xml)" = 1 ] || fail "the interrupted test is not in the report"
expect 130 "$provium" report int
passed
