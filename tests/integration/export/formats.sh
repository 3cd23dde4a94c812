# A run with a VM, a claim, all verdicts and a broken file, in each format of `journal export`: the event channel keeps its guarantees, CloudEvents and
# the trace are well-formed, and the same journal gives the same bytes.
. "$(dirname "$0")/../../lib/harness.sh"
profile
check=$PV_TEST_BIN/check_export
cat >a-vm.test.lua <<'LUA'
provium:claim({ memory = "300M", cpus = 1 })
local vm = provium:vm("node", "default"):boot()
test("runs", { spec = "a", n = 3, list = { 1, 2 } }, function(t)
    t:assert_eq(vm:run("echo hi").stdout, "hi\n")
end)
test("fails", function(t) t:fail("on purpose") end)
test("goes down", function(t)
    vm:shutdown()
    vm:boot()
    local own = provium:vm("own", "default"):boot()
    own:run("poweroff -f", { timeout = 5 })
end)
LUA
cat >b-plain.test.lua <<'LUA'
test("passes", function() end)
test("is skipped", { skip = "later" }, function() end)
test("skips itself", function(t) t:skip("not here") end)
LUA
printf 'error("broken")\n' >c-broken.test.lua
expect 1 "$provium" run --cpus 8 --mem 4G .
for format in jsonl cloudevents otlp-json; do
	expect 0 "$provium" journal export last --format $format
	mv out $format
	"$check" $format <$format >checked || fail "$format: $(cat checked)"
	expect 0 "$provium" journal export last --format $format -o again
	cmp $format again || fail "$format differs the second time"
done
for kind in file_discovered file_dispatched file_completed test_started test_passed test_failed test_skipped vm_spawned vm_shutdown \
	claim_acquired claim_released; do
	says jsonl "\"kind\":\"$kind\""
	says cloudevents "\"type\":\"dev.provium.$kind\""
done
says jsonl '"name":"runs","meta":{"list":[1,2],"n":3,"spec":"a"}'
says jsonl '"reason":"skipped: later"'
[ "$(wc -l <jsonl)" = "$(wc -l <cloudevents)" ] || fail "not the same events"
says otlp-json '"name":"boot node"'
says otlp-json '"name":"test fails"'
expect 2 "$provium" journal export last
says err "which --format"
expect 2 "$provium" journal export last --format jsonl -o "$work/no/such/dir"
says err "cannot write"
expect 2 "$provium" journal export nothing --format jsonl
passed
