# Boots from a template, clones of a lab fixture, reset_between_tests, as a user meets them: `labs.sh BIN-DIRECTORY`. Figures come from the journals of
# `provium run`. The floor of clones is bare QEMU's (bench_snapshot --clones), in the same run.
set -u
bin=$1
rounds=${ROUNDS:-7}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/provium-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
"$bin/provium" guest info --toml >provium.toml
printf '\n[provium]\ncache_dir = "cache"\n' >>provium.toml

# run FILE [FLAG...]: runs it with a journal in ./run
run() {
	rm -rf run
	"$bin/provium" run --psi-threshold 0 --journal=run "$@" >run.out 2>&1 || {
		cat run.out >&2
		exit 1
	}
}

# ended OP: "DURATION-IN-NS WHAT" of each call of that kind
ended() {
	"$bin/provium" replay run --kind "$1" --json |
		sed -n 's/.*"kind":"call_ended".*"what":"\([^"]*\)","duration_ns":\([0-9]*\).*/\2 \1/p'
}

# median of the first column, in ms
median() {
	sort -n | awk '{ v[NR] = $1 } END { if (NR == 0) exit 1; printf "%.1f", v[int((NR + 1) / 2)] / 1000000 }'
}

# -- boots
{
	echo 'local function boot(name, template)'
	echo '  provium:vm(name, "default", { memory = "256M", template = template }):boot():shutdown()'
	echo 'end'
	echo 'boot("first", true)'
	echo "for i = 1, $rounds do boot(\"cold\" .. i, false); boot(\"quick\" .. i, true) end"
	echo 'test("nothing", function() end)'
} >boots.test.lua
run boots.test.lua
cold=$(ended boot | grep cold | sed 1d | median)
quick=$(ended boot | grep template | median)
awk -v a="$cold" -v b="$quick" 'BEGIN {
	printf "  %-44s %10.1f ms   cold  %10.1f ms   1/%.1f   (goal 1/8)\n", "vm:boot() from a template", b, a, a / b }'

# -- reset_between_tests
{
	echo 'provium.reset_between_tests = true'
	echo 'provium:vm("a", "default", { memory = "128M" })'
	echo 'provium:vm("b", "default", { memory = "128M" })'
	echo 'provium:boot()'
	echo "for i = 1, $rounds + 1 do test(\"test \" .. i, function() provium.a:run('true'):assert_ok() end) end"
} >reset.test.lua
run reset.test.lua
"$bin/provium" journal show run --json >events
