# kill -9 of the runner while a template is made, installed and used: the store has whole templates or none, and the next run makes what is missing.
. "$(dirname "$0")/../../lib/harness.sh"
export XDG_CACHE_HOME="$work/cache"
profile 'accel = "tcg"' 'memory = "128M"'
cat >a.test.lua <<'LUA'
test("boots", function(t)
    for _, name in ipairs({ "one", "two" }) do
        local vm = provium:vm(name, "default"):boot({ files = { { path = "/etc/x", content = name } } })
        t:assert_eq(vm:run("hostname; cat /etc/x").stdout, name .. "\n" .. name)
    end
end)
LUA
store=$XDG_CACHE_HOME/provium/fixtures/templates
quiet() { gone "provium-keeper.*$work" && gone "qemu-system.*$work"; }

# kill_at WORD COMMAND...: a run that is killed as soon as the command succeeds.
n=0
kill_at() {
	word=$1
	shift
	n=$((n + 1))
	"$provium" run --no-preflight --psi-threshold 0 --cpus 8 --orphan-timeout 0 --journal="$work/run$n" a.test.lua >out 2>err &
	pid=$!
	until_true "$word" come "$@"
	kill -9 $pid 2>/dev/null || true
	wait $pid || true
	until_true "the keeper ends (killed at: $word)" quiet
	for entry in "$store"/*.snap; do
		[ ! -e "$entry" ] || "$provium" run --no-preflight --psi-threshold 0 --cpus 8 --journal="$work/check$n" a.test.lua >out 2>err ||
			fail "what is in the store is of no use (killed at: $word)"
	done
	[ ! -s err ] || never_says err "of no use"
	rm -rf "$store"
}
come() {
	! kill -0 $pid 2>/dev/null || "$@"
}
has_lock() { ls "$store"/*.lock >/dev/null 2>&1; }
has_memory() { ls "run$n/templates/"* >/dev/null 2>&1; }
has_snapshot() { ls "run$n/templates/"*.snap >/dev/null 2>&1; }
packs() { ls "$store"/*.tmp* >/dev/null 2>&1; }
has_entry() { ls "$store"/*.snap >/dev/null 2>&1; }

kill_at "the maker has the lock" has_lock
kill_at "the memory is being written" has_memory
kill_at "the snapshot is whole" has_snapshot
kill_at "it is being packed" packs
kill_at "it is installed" has_entry

# What the dead left goes with the next run that makes one.
expect 0 "$provium" run --no-preflight --psi-threshold 0 --cpus 8 --journal="$work/last" a.test.lua
[ -z "$(find "$store" -name '*.tmp*')" ] || fail "left: $(find "$store" -name '*.tmp*')"
[ -z "$(find "$store" -name '*.lock')" ] || fail "left: $(find "$store" -name '*.lock')"
passed
