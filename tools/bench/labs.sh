# Boots from a template, clones of a lab fixture and reset_between_tests, as a user meets them: `labs.sh BIN-DIRECTORY`. Figures come from the journals of
# `provium run`; the floor of clones is bare QEMU's in the same run (bench_snapshot --clones).
set -u
bin=$1
rounds=${ROUNDS:-7}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/provium-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
"$bin/provium" guest info --toml >provium.toml
printf '\n[provium]\ncache_dir = "cache"\n' >>provium.toml

# run FILE: runs it with a journal in ./run
run() {
	rm -rf run
	"$bin/provium" run --psi-threshold 0 --cpus 1000 --jobs 1 --journal=run "$1" >run.out 2>&1 || {
		cat run.out >&2
		exit 1
	}
}

# ended KIND: "DURATION-IN-NS WHAT" of each call of that kind
ended() {
	"$bin/provium" replay run --kind "$1" --json |
		sed -n 's/.*"kind":"call_ended".*"what":"\([^"]*\)","duration_ns":\([0-9]*\).*/\2 \1/p'
}

# moments SED-SCRIPT: "T_NS" of the events of the timeline that it selects
moments() {
	"$bin/provium" replay run --json | sed -n "$1" | sed 's/.*"t_ns":\([0-9]*\).*/\1/'
}

# median of the first column
median() {
	sort -n | awk '{ v[NR] = $1 } END { if (NR == 0) exit 1; printf "%.0f", v[int((NR + 1) / 2)] }'
}

# -- boots
{
	echo 'local function boot(name, template)'
	echo '  provium:vm(name, "default", { memory = "256M", template = template }):boot():shutdown()'
	echo 'end'
	echo 'boot("first", true)'
	i=0
	while [ $i -lt "$rounds" ]; do
		i=$((i + 1))
		echo "boot('cold$i', false) boot('quick$i', true)"
	done
} >boots.test.lua
run boots.test.lua
awk -v a="$(ended boot | grep -F template | median)" -v b="$(ended boot | sed 1d | grep -F cold | median)" 'BEGIN {
	printf "  %-52s %10.1f ms   cold  %10.1f ms   1/%.1f   (goal 1/8)\n", "vm:boot() from a template", a / 1e6, b / 1e6, b / a }'

# -- reset_between_tests: from the end of a test to the beginning of the next
{
	echo 'provium.reset_between_tests = true'
	echo 'provium:vm("a", "default", { memory = "128M" })'
	echo 'provium:vm("b", "default", { memory = "128M" })'
	echo 'provium:boot()'
	i=0
	while [ $i -le "$rounds" ]; do
		i=$((i + 1))
		echo "test('test $i', function() provium.a:run('true'):assert_ok() end)"
	done
} >reset.test.lua
run reset.test.lua
moments '/"kind":"test_started"/p' >begins
moments '/"kind":"test_ended"/p' >ends
awk -v a="$(paste -d' ' ends begins | awk 'NR > 1 { print $2 - end } { end = $1 }' | median)" 'BEGIN {
	printf "  %-52s %10.1f ms   a test\n", "reset_between_tests, a lab of two VMs", a / 1e6 }'

# -- clones of a lab fixture
mkdir fixtures
cat >fixtures/one.fixture.lua <<'LUA'
provium:vm("a", "default", { memory = "128M" }):boot()
return provium:snapshot()
LUA
cat >pss.sh <<'SH'
for pid in $(pgrep -f 'qemu-system.*memory-backend-file'); do
	sed -n 's/^Pss: *\([0-9]*\) .*/\1/p' "/proc/$pid/smaps_rollup" 2>/dev/null
done | awk '{ sum += $1; n++ } END { print n, int(sum / n) }' >pss
SH
# A run of its own: what is packed for the cache in the background is packed by its end.
echo 'provium:lab_fixture("fixtures/one").a:shutdown()' >warm.test.lua
run warm.test.lua
for n in 40 100; do
	cat >clones.test.lua <<LUA
provium.timeout = 300
test("warms the cache", function() provium:lab_fixture("fixtures/one").a:shutdown() end)
test("clones", function(t)
  local tasks = {}
  for i = 1, $n do
    tasks[i] = co.spawn(function() provium:lab_fixture("fixtures/one").a:run("true"):assert_ok() end)
  end
  for _, task in ipairs(tasks) do task:join() end
  os.execute("sh pss.sh")
end)
LUA
	run clones.test.lua
	from=$(moments '/"test":"clones".*"kind":"call_started","op":"fixture"/p' | sed -n 1p)
	to=$(moments '/"test":"clones".*"kind":"call_ended","op":"run"/p' | tail -n 1)
	read -r counted pss <pss
	[ "$counted" -ge "$n" ] || exit 1
	"$bin/bench_snapshot" "$bin" --clones "$n" >bare || exit 1
	awk -v n="$n" -v a="$((to - from))" -v pss="$pss" '{
		printf "  %-52s %10.1f ms   floor %10.1f ms   ratio %.3f   (goal <= 1.1)\n", n " clones of a lab fixture: all have answered", a / 1e6, $3, a / 1e6 / $3
		printf "  %-52s %10.1f MiB  floor %10.1f MiB  ratio %.3f   (goal <= 1.1)\n", n " clones: memory of each (PSS)", pss / 1024, $4 / 1024, pss / $4
	}' bare
done
