# Contents and whole runs that must go: the proof of what stays is whole.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default"):boot()
test("one", function(t)
    vm:write_file("/tmp/x", string.rep("private ", 1000))
    io.stderr:write("WRITTEN\n")
    vm:run("sleep 2")
end)
LUA
"$provium" run . >out 2>err &
pid=$!
until_says err WRITTEN $pid
run=$(ls "$XDG_STATE_HOME/provium/runs")
dir=$XDG_STATE_HOME/provium/runs/$run
blob=$(printf 'private %.0s' $(seq 1000) | sha256sum | cut -d' ' -f1)
"$provium" journal ls >ls.out
says ls.out live
code=0
"$provium" journal redact last --blob "$blob" >out2 2>err2 || code=$?
[ $code = 2 ] || fail "a live run was redacted"
says err2 "in use"
"$provium" journal gc "$run" >out2 2>err2 && fail "a live run was removed"
timeout 30 "$provium" audit last >live.out || fail "audit of a live run: $(cat live.out)"
says live.out "the run is live"
wait $pid || fail "the run failed"
expect 0 "$provium" audit last
says out "1 there and whole, 0 redacted"

expect 0 "$provium" journal redact last --blob "$blob"
expect 0 "$provium" audit last --against "$dir/checkpoint"
says out "0 there and whole, 1 redacted"
expect 2 "$provium" journal redact last --blob "$blob"
says err "redacted before"
expect 2 "$provium" journal redact last --blob 1234
expect 2 "$provium" journal redact last
rm -f "$dir/redactions"
expect 3 "$provium" audit last
says err "is not there"
rm -rf "$dir"

cat >a.test.lua <<'LUA'
test("one", function(t) end)
LUA
for _ in 1 2 3; do expect 0 "$provium" run .; done
newest=$(ls "$XDG_STATE_HOME/provium/runs" | tail -n 1)
expect 2 "$provium" journal gc
expect 0 "$provium" journal gc --older-than 1h
[ ! -s out ] || fail "runs of a moment ago were removed: $(cat out)"
expect 0 "$provium" journal gc --keep 1
[ "$(grep -c '^removed' out)" = 2 ] || fail "not two were removed: $(cat out)"
[ "$(ls -A "$XDG_STATE_HOME/provium/runs")" = "$newest" ] || fail "another than the newest is left"
expect 0 "$provium" journal gc last
[ -z "$(ls -A "$XDG_STATE_HOME/provium/runs")" ] || fail "it is still there"
passed
