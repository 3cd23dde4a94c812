# A run that ends in order leaves no keeper; one without VMs starts none.
. "$(dirname "$0")/../../lib/harness.sh"
profile
printf 'test("fine", function(t) t:assert(true) end)\n' >a.test.lua
expect 0 "$provium" run --journal="$work/none" a.test.lua
[ ! -e none/keeper.log ] || fail "a run without VMs has started a keeper"
cat >b.test.lua <<'LUA'
test("boots", function(t) provium:vm("a", "default"):boot():run("true"):assert_ok() end)
LUA
expect 0 "$provium" run --journal="$work/run" b.test.lua
says run/keeper.log "took leave"
never_says err keeper
passed
