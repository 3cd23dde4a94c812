# A bundle is a run in one file: every verb takes it as RUN and says what it says of the run, also where the run's directory is gone; what was unpacked
# is gone behind the verb, however it ends.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("node", "default"):boot()
test("says much", function(t)
    for i = 1, 1000 do t:log(("%d "):format(i):rep(40)) end
end)
test("large payloads are blobs", function(t)
    vm:write_file("/large", string.rep("0123456789", 5000))
    t:assert_eq(#vm:read_file("/large"), 50000)
end)
LUA
expect 0 "$provium" run --journal="$work/run" .
[ -n "$(find run/blobs -type f)" ] || fail "the run has no blob"
mkdir tmp
TMPDIR=$work/tmp
export TMPDIR
verbs() {
	for verb in audit replay "replay --slow" "replay --json" "replay --at 12" "replay --script" "report --json" "journal show --json" \
		"journal export --format jsonl" "journal export --format otlp-json"; do
		# shellcheck disable=SC2086 # words
		expect 0 "$provium" $verb "$1"
		printf '== %s\n' "$verb"
		sed 's/[0-9.]*s$//' out # how long it took to go through the script again
	done
}
verbs "$work/run" >of-run
expect 0 "$provium" journal export "$work/run" --bundle one.bundle
expect 0 "$provium" journal export one.bundle --bundle two.bundle # of a bundle too
cmp one.bundle two.bundle || fail "the bundle of a bundle differs"
mv run elsewhere
verbs one.bundle >of-bundle
expect 0 "$provium" replay --diff two.bundle one.bundle # two at once
cmp of-run of-bundle || fail "verbs say other things of the bundle: $(diff of-run of-bundle | head -n 5)"
[ -z "$(ls -A tmp)" ] || fail "left behind: $(ls tmp)"

# An error, and a death by each signal in the middle of the output.
head -c 3000 one.bundle >cut.bundle
expect 2 "$provium" replay cut.bundle
says err "damaged or forged"
expect 2 "$provium" journal export one.bundle --bundle no/where
[ -z "$(ls -A tmp)" ] || fail "left behind by an error: $(ls tmp)"
mkfifo pipe
for signal in TERM HUP KILL; do # a shell lets what it starts in the background ignore INT
	# shellcheck disable=SC2217 # a reader that does not read
	sleep 60 <pipe &
	reader=$!
	"$provium" journal show --json one.bundle >pipe 2>err &
	pid=$!
	tries=0
	until [ -n "$(ls -A tmp)" ]; do
		tries=$((tries + 1))
		[ $tries -lt 500 ] || fail "nothing was unpacked"
		sleep 0.02
	done
	kill -0 $pid 2>/dev/null || fail "the verb ended before it could be killed"
	kill -$signal $pid
	wait $pid 2>/dev/null || true
	kill $reader
	wait $reader 2>/dev/null || true
	tries=0
	while [ -n "$(ls -A tmp)" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "left behind by SIG$signal: $(ls tmp)"
		sleep 0.1
	done
done
rm pipe
mv elsewhere run
passed
