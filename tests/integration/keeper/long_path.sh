# A run directory whose path is too long for sockets: they lie elsewhere, where `ps`, `stop` and `resume` find them, and are cleaned up.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local vm = provium:vm("a", "default"):boot()
test("waits", function(t) vm:run("sleep 1000") end)
LUA
long=$work/$(printf '%0100d' 0)
"$provium" run --journal="$long" . >out 2>err &
pid=$!
# shellcheck disable=SC2034 # of sleeping()
waiting=$long
until_true "the intent is committed" sleeping
sockets=$(readlink "$long/sockets") || fail "no link to the sockets"
[ -S "$sockets/keeper.sock" ] || fail "no keeper in $sockets"
kill -9 $pid
wait $pid || true
"$provium" resume "$long" >out 2>err &
pid=$!
until_true "it goes on" sh -c "\"$provium\" journal show \"$long\" 2>/dev/null | grep -q 'asked again'"
kill -9 $pid
wait $pid || true
expect 0 "$provium" stop "$long"
until_true "the keeper ends" gone "provium-keeper.*$work"
gone "qemu-system.*$work" || fail "QEMU is left"
[ ! -e "$sockets" ] || fail "$sockets is left"
[ ! -L "$long/sockets" ] || fail "the link is left"
passed
