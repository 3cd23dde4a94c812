# The disk of the journal fills up: the run ends with a clear error, VMs end, and what was acknowledged is there.
. "$(dirname "$0")/../../lib/harness.sh"
profile
mkdir small
mount -t tmpfs -o size=1M tmpfs small 2>/dev/null || skip "no right to mount a small file system"
trap 'umount "$work/small"' EXIT
cat >a.test.lua <<'LUA'
for n = 1, 200 do
    test("fills the journal " .. n, function(t)
        for i = 1, 20 do t:log(("line %d of %d "):format(i, n) .. ("x"):rep(500)) end
    end)
end
LUA
expect 2 "$provium" run --journal="$work/small/run" .
says err "space"
"$provium" journal show small/run >events
says events "line 20 of 10 "
left=$(pgrep -f -- "provium.*$work" | grep -vx $$ || true)
[ -z "$left" ] || fail "processes left: $left"
umount small
passed
