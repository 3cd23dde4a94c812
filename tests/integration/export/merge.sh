# Shards of a run, made one after the other and one with a VM, become one run: it verifies, folds, and says of files, tests and machines what the shards
# say. Shards that do not belong together, or that do not verify, are refused with exit code 3, and nothing is left.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a-vm.test.lua <<'LUA'
local vm = provium:vm("node", "default"):boot()
test("runs", function(t)
    local p = vm:run_async("cat")
    p:stdin_write("hello")
    p:close_stdin()
    t:assert_eq(p:wait().stdout, "hello")
    vm:write_file("/large", string.rep("x", 5000))
    local tail = vm:tail_file("/large", { start = "beginning" })
    tail:next()
    tail:close()
    local worker = vm:spawn_worker()
    worker:run("true")
    worker:run_async("true"):wait()
    worker:close()
    local console = vm:console():read()
    console:drain(0)
    console:close()
    provium:bridge("lan")
end)
LUA
cp a-vm.test.lua d-vm.test.lua # its calls, streams and workers get other numbers
cat >b-barrier.test.lua <<'LUA'
test("meets", function(t)
    local lab = provium:lab("site")
    co.spawn(function() lab:barrier("gate", 2) end)
    lab:barrier("gate", 2)
    local pipe = io.popen("echo hi")
    t:assert_eq(pipe:read("a"), "hi\n")
    pipe:close()
    pipe = io.popen("cat >/dev/null", "w")
    pipe:write("hi")
    pipe:close()
end)
test("is skipped", { skip = true }, function() end)
LUA
printf 'test("fails", function(t) t:fail("on purpose") end)\n' >c-fails.test.lua
expect 0 "$provium" run --seed 7 --journal="$work/one" a-vm.test.lua
expect 0 "$provium" run --seed 7 --journal="$work/two" b-barrier.test.lua
expect 1 "$provium" run --seed 7 --journal="$work/three" c-fails.test.lua
expect 0 "$provium" run --seed 7 --journal="$work/four" d-vm.test.lua
expect 0 "$provium" journal export two --bundle two.bundle
echo "$(printf %064d 0) 4711" >one/redactions
expect 0 "$provium" journal merge -o merged one two.bundle three four
expect 0 "$provium" audit merged
says out "the lab that the run had"
expect 0 "$provium" journal show merged
says out "merged from 4 runs"
says out "run failed: 4 file(s); 3 passed, 1 failed, 1 skipped"
expect 0 "$provium" journal export merged --format jsonl
"$PV_TEST_BIN/check_export" jsonl <out >checked || fail "$(cat checked)"
expect 0 "$provium" journal export merged --format otlp-json
"$PV_TEST_BIN/check_export" otlp-json <out >checked || fail "$(cat checked)"
grep -q '^0*0 4711$' merged/redactions || fail "what was redacted of a shard is not told"
[ "$(find merged/blobs -type f | wc -l)" = "$(find one/blobs -type f | wc -l)" ] || fail "blobs are missing"
expect 0 "$provium" journal merge -o again four three two one
expect 0 "$provium" audit again
diff -r merged/blobs again/blobs || fail "the second time there are other blobs"

refused() {
	expect 3 "$provium" journal merge -o no "$@"
	[ "$(find . -maxdepth 1 -name 'no*')" = "" ] || fail "left behind: $(ls)"
}
expect 0 "$provium" run --seed 8 --journal="$work/other" b-barrier.test.lua
refused one other
says err "seeds differ"
refused one two two.bundle
says err "both hold b-barrier.test.lua"
sed 's/^cmdline.*/cmdline = "console=ttyS0 other"/' provium.toml >changed.toml
expect 0 "$provium" run --seed 7 --config changed.toml --journal="$work/profile" b-barrier.test.lua
refused one profile
says err "profiles differ"
cp -r two damaged
LC_ALL=C sed -i 's/is skipped/is skippeX/g' damaged/journal.mdb
refused one damaged
says err "damaged cannot be merged"
expect 2 "$provium" journal merge -o merged one two
says err "exists already"
expect 2 "$provium" journal merge one two
says err "-o PATH"
rm -r damaged
passed
