# A template that is of no use is told, removed and made anew; the boot succeeds all the same.
. "$(dirname "$0")/../../lib/harness.sh"
export XDG_CACHE_HOME="$work/cache"
profile 'accel = "tcg"' 'memory = "128M"'
cat >a.test.lua <<'LUA'
test("boots", function(t)
    for _, name in ipairs({ "one", "two" }) do
        local vm = provium:vm(name, "default"):boot()
        t:assert_eq(vm:run("hostname").stdout, name .. "\n")
    end
end)
LUA
store=$XDG_CACHE_HOME/provium/fixtures/templates
ways() {
	rm -rf run
	expect 0 "$provium" run --cpus 8 --psi-threshold 0 --journal=run a.test.lua
	"$provium" replay run --kind boot | sed -n 's/.* vm \([a-z]*\) .*boot done: \([a-z]*\)[ ,].*/\1 \2/p' | sort | tr '\n' ' ' >ways
	nothing_left
}
spoilt() {
	ways
	says err "template"
	says err "is of no use and is made anew"
	[ "$(cat ways)" = "one cold two template " ] || fail "$1: $(cat ways)"
	ways
	never_says err "template"
	[ "$(cat ways)" = "one template two template " ] || fail "$1, made anew: $(cat ways)"
}
entry() { find "$store" -maxdepth 1 -name '*.snap'; }

ways
[ "$(cat ways)" = "one cold two template " ] || fail "first run: $(cat ways)"

# Cut.
rm -rf "$store/hot"
truncate -s -1000 "$(entry)"
spoilt cut

# A byte in the middle is another.
rm -rf "$store/hot"
printf 'X' | dd of="$(entry)" bs=1 seek=2000000 conv=notrunc 2>/dev/null
printf 'Y' | dd of="$(entry)" bs=1 seek=2000001 conv=notrunc 2>/dev/null
spoilt "a byte"

# Something else has its name.
rm -rf "$store/hot"
printf 'no snapshot at all' >"$(entry)"
spoilt "something else"

# Where the UUID is, is not known.
rm -f "$store"/*.inputs.json
spoilt "no inputs"

# It is known of another snapshot.
sed -i 's/"saved_ns": [0-9]*/"saved_ns": 1/' "$store"/*.inputs.json
spoilt "inputs of another"

# A guest that never answers: its memory is zeros, but for what the store checks. The copy that guests map is there while one does.
cat >copy.test.lua <<LUA
test("copies", function(t)
    provium:vm("one", "default"):boot()
    os.execute("cp -r '$store/hot' '$work/hot'")
end)
LUA
expect 0 "$provium" run --no-journal copy.test.lua
rm -rf "$store/hot"
mv hot "$store/hot"
hot=$(find "$store/hot" -type f)
[ -n "$hot" ] || fail "there is no hot copy"
dd if=/dev/zero of="$hot" bs=1M count=100 conv=notrunc 2>/dev/null
sed -i 's/:boot()/:boot({ wait = 40 })/' a.test.lua
ways
says err "is of no use and is made anew"
[ "$(cat ways)" = "one cold two template " ] || fail "a dead guest: $(cat ways)"

# A store that cannot be used is no reason to fail.
rm -rf "$store"
printf 'in the way' >"$store"
ways
says err "not kept for later runs"
[ "$(cat ways)" = "one cold two template " ] || fail "no store: $(cat ways)"
passed
