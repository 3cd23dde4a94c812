# Claims on the resource pool: eight files of 256 MiB each in a pool with room for two run two at a time; a claim is taken once, released in
# every ending, and refused with reasons when it is hopeless. No VM is booted.
. "$(dirname "$0")/../../lib/harness.sh"
profile

# most RUN EVENT END: how many files were between EVENT and END at once, by the journal.
most() {
	"$provium" journal show "$1" --json >events
	awk -v on="\"$2\"" -v off="\"$3\"" '
		index($0, on) { n++; if (n > most) most = n }
		index($0, off) { n-- }
		END { print most + 0 }' events
}

# -- two at a time, for claims that the scan sees and for others
for form in 'provium:claim({memory = "256M"})' 'local m = "256M"; provium:claim({memory = m})'; do
	rm -f ./*.test.lua
	for i in 1 2 3 4 5 6 7 8; do
		cat >"f$i.test.lua" <<LUA
$form
test("holds it for a moment", function()
    pcall(wait_until, function() return false end, {timeout = 0.1, interval = 0.1})
end)
LUA
	done
	rm -rf run
	expect 0 "$provium" run --mem 700M --jobs 8 --psi-threshold 0 --journal=run .
	n=$(most run claim_acquired claim_released)
	[ "$n" = 2 ] || fail "$n claims were held at once, 2 wanted ($form)"
	[ "$(grep -c claim_released events)" = 8 ] || fail "not every claim was released"
	says events "(pool full)"
done
n=$(most run file_dispatched file_completed)
[ "$n" -gt 2 ] || fail "files with a claim that the scan cannot see were not dispatched side by side"

# -- one a file, in any lab; unknown keys; more than there is
rm -f ./*.test.lua
cat >once.test.lua <<'LUA'
local ok, err = pcall(provium.claim, provium, {memory = "1T", cpus = 1})
provium:claim({memory = "64M"})
test("rules", function(t)
    t:assert_eq(ok, false)
    t:assert_contains(tostring(err), "lab:claim: 1 TiB and 1 vCPU")
    t:assert_contains(tostring(err), "it has 700 MiB and 1 vCPU in all")
    t:assert_contains(tostring(err), "once.test.lua holds")
    t:assert_contains(tostring(t:assert_raises(function() provium:lab("x"):claim({}) end)), "claim already taken")
    t:assert_contains(tostring(t:assert_raises(function() provium:claim({disk = 1}) end)), "disk")
    t:assert_contains(tostring(t:assert_raises(function() provium:claim({cpus = -1}) end)), "-1")
    t:assert_contains(tostring(t:assert_raises(function() provium:claim({memory = "5x"}) end)), "5x")
end)
LUA
expect 0 "$provium" run --mem 700M --cpus 1 .

# -- released in every ending
rm -f ./*.test.lua
echo 'provium:claim({cpus = 1}) error("broken")' >a-error.test.lua
echo 'provium:claim({cpus = 1}) test("t", function() while true do end end)' >b-timeout.test.lua
echo 'provium:claim({cpus = 1}) test("t", function(t) t:fail() end)' >c-fails.test.lua
rm -rf run
expect 1 "$provium" run --cpus 1 --psi-threshold 0 --timeout 1 --journal=run .
[ "$(most run claim_acquired claim_released)" = 1 ] || fail "two held the only vCPU"
[ "$(grep -c claim_released events)" = 3 ] || fail "a claim was not released: $(grep -c claim_released events)"
says out 'TIME b-timeout.test.lua'

# -- and when the run is interrupted, also while it waits
rm -f ./*.test.lua
for i in 1 2; do
	cat >"i$i.test.lua" <<'LUA'
local n = 1
io.stderr:write("ASKS\n")
provium:claim({cpus = n})
test("t", function() wait_until(function() return false end, {timeout = 100}) end)
LUA
done
rm -rf run
"$provium" run --cpus 1 --jobs 2 --psi-threshold 0 --journal=run . >out 2>err &
pid=$!
tries=0
until [ "$("$provium" journal show run --json 2>/dev/null | grep -c -e claim_acquired -e "pool full")" = 2 ]; do
	tries=$((tries + 1))
	[ $tries -lt 200 ] || fail "the second file never waited"
	sleep 0.05
done
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ] || fail "exit code $code after SIGINT"
[ "$(most run claim_acquired claim_released)" = 1 ] || fail "the waiting file got its claim"
[ "$(grep -c claim_released events)" = 1 ] || fail "the claim was not released"

# -- all hold something and wait: the youngest is told, the other goes on
rm -f ./*.test.lua
for i in 1 2; do
	cat >"d$i.test.lua" <<'LUA'
local large = "400M"
provium:claim({memory = large})
LUA
done
rm -rf run
expect 0 "$provium" run --mem 500M --jobs 2 --psi-threshold 0 --journal=run .
[ "$(most run claim_acquired claim_released)" = 1 ] || fail "two large claims at once"
passed
