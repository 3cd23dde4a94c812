# Files side by side: one that computes forever is stopped by its --timeout while another goes on, status lines come in order of completion,
# and what scripts print stays out of a report on stdout. No VM is booted.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a-forever.test.lua <<'LUA'
test("computes", function() while true do end end)
LUA
cat >b-quick.test.lua <<'LUA'
print("printed", 1)
io.write("written\n")
for i = 1, 20 do
    test("t" .. i, function() pcall(wait_until, function() return false end, {timeout = 0.01, interval = 0.01}) end)
end
LUA
expect 1 "$provium" run --jobs 2 --psi-threshold 0 --timeout 3 .
grep -E '^(PASS|TIME)' out >order
[ "$(head -n 1 order)" = "PASS b-quick.test.lua (20 passed, 0 failed, 0 skipped)" ] || fail "b-quick did not end first"
says order 'TIME a-forever.test.lua'
says out 'printed	1'
expect 1 "$provium" run --jobs 2 --psi-threshold 0 --timeout 2 --json .
never_says out printed
never_says out written
says err 'printed	1'
says err written
[ "$(wc -l <out)" = 2 ] || fail "not one line a file"
passed
