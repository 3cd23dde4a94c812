# A run whose VMs come from a template is killed, with the VMs up and in the middle of a boot, and gone on with.
. "$(dirname "$0")/../../lib/harness.sh"
export XDG_CACHE_HOME="$work/cache"
profile 'accel = "tcg"' 'memory = "128M"'
cat >warm.test.lua <<'LUA'
test("makes the template", function(t) provium:vm("w", "default"):boot() end)
LUA
cat >a.test.lua <<'LUA'
local a = provium:vm("a", "default"):boot({ files = { { path = "/etc/x", content = "staged" } } })
local before = a:read_file("/proc/sys/kernel/random/boot_id")
test("up", function(t)
    a:run("echo once >> /log"):assert_ok()
    a:run("sleep 2; echo twice >> /log"):assert_ok()
    t:assert_eq(a:read_file("/log"), "once\ntwice\n")
    t:assert_eq(a:read_file("/proc/sys/kernel/random/boot_id"), before)
end)
test("resets as ever", function(t)
    a:reset()
    t:assert_eq(a:read_file("/etc/x"), "staged")
    t:assert_neq(a:read_file("/proc/sys/kernel/random/boot_id"), before)
end)
test("boots more", function(t)
    for i = 1, 4 do
        local vm = provium:vm("b" .. i, "default"):boot({ files = { { path = "/etc/x", content = "b" .. i } } })
        t:assert_eq(vm:run("hostname; cat /etc/x").stdout, "b" .. i .. "\nb" .. i)
        vm:shutdown()
    end
end)
LUA
expect 0 "$provium" run --cpus 8 --psi-threshold 0 --journal=warm warm.test.lua

# killed_when TEXT TIMES: starts or goes on, and kills it when the journal has TEXT so often.
killed_when() {
	if [ -d run ]; then
		"$provium" resume run >out 2>err &
	else
		"$provium" run --cpus 8 --psi-threshold 0 --journal=run a.test.lua >out 2>err &
	fi
	pid=$!
	until_true "$1" there "$1" "$2"
	kill -9 $pid
	wait $pid || true
}
there() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	[ "$("$provium" journal show run 2>/dev/null | grep -c -- "$1")" -ge "$2" ]
}
killed_when 'sleep 2' 1  # up
killed_when ' boot  @' 3 # in the boot of b2
expect 0 "$provium" resume -v run
says out "PASS a.test.lua (3 passed, 0 failed, 0 skipped)"
"$provium" replay run --kind boot | grep -c 'boot done: template' | grep -qx 5 || fail "not all boots are from the template: $("$provium" replay run --kind boot)"
passed
