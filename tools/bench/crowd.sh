# 64 VMs on one bridge: `crowd.sh BIN-DIRECTORY`. They go on from one snapshot, are attached, and one of them pings all others. COUNT: so many instead.
set -u
bin=$1
count=${COUNT:-64}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/provium-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir rt
chmod 700 rt
export XDG_RUNTIME_DIR="$work/rt"
"$bin/provium" guest info --toml >provium.toml
cat >crowd.test.lua <<LUA
local count = $count
LUA
cat >>crowd.test.lua <<'LUA'
provium.timeout = "900s"
local options = { memory = "96M" }

test("all answer", function(t)
  local lan = provium:bridge("lan")
  local first = provium:vm("first", "default", options):boot()
  local shot = first:snapshot()
  first:shutdown()
  local vms, tasks = {}, {}
  for i = 1, count do
    vms[i] = provium:vm("n" .. i, "default", options)
    tasks[i] = co.spawn(function() vms[i]:restore(shot) end)
  end
  for _, task in ipairs(tasks) do task:join() end
  t:log("restored")
  lan:attach(vms)
  t:log("attached")
  for i = 2, count do
    local result = vms[1]:run("ping -c 1 -W 30 n" .. i .. ".lan")
    if not result:ok() then t:error("n" .. i .. " does not answer: " .. result.stdout .. result.stderr) end
  end
  t:log("answered")
  os.execute("sh memory.sh")
end)
LUA
cat >memory.sh <<'SH'
for pid in $(pgrep -f "^qemu.*$PWD/run/vms/"); do
	sed -n 's/^Pss: *\([0-9]*\) .*/\1/p' "/proc/$pid/smaps_rollup" 2>/dev/null
done | awk '{ sum += $1; n++ } END { print n, int(sum / n) }' >memory
SH
"$bin/provium" run --psi-threshold 0 --cpus 1000 --jobs 1 --journal=run crowd.test.lua >out 2>&1 || {
	cat out >&2
	exit 1
}
# T_NS of the log line of that text
at() {
	"$bin/provium" replay run --json | grep -F "\"log: $1\"" | sed -n 's/.*"t_ns":\([0-9]*\).*/\1/p' | head -n 1
}
from=$("$bin/provium" replay run --json | sed -n '/"kind":"call_started","op":"restore"/s/.*"t_ns":\([0-9]*\).*/\1/p' | head -n 1)
read -r counted pss <memory
awk -v n="$count" -v from="$from" -v up="$(at restored)" -v attached="$(at attached)" -v answered="$(at answered)" -v pss="$pss" 'BEGIN {
	printf "  %-52s %10.1f s\n", n " VMs restored", (up - from) / 1e9
	printf "  %-52s %10.1f s\n", "attached to one bridge, all names known to all", (attached - up) / 1e9
	printf "  %-52s %10.1f s\n", "all have answered one of them", (answered - attached) / 1e9
	printf "  %-52s %10.1f MiB\n", "memory of each (PSS)", pss / 1024 }'
left=$(find rt -type s)
[ "$counted" = "$count" ] && [ -z "$left" ] && ! pgrep -f -- "$work" >/dev/null || {
	echo "something is left, or missing: $counted VMs; $left" >&2
	exit 1
}
