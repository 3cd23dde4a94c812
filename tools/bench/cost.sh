# What the journal costs a lab run, and how long executing its script again takes: `cost.sh BIN-DIRECTORY`. Medians of ROUNDS rounds, taken in
# turn so that the machine's moods meet both sides.
set -u
bin=$1
rounds=${ROUNDS:-7}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/provium-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
"$bin/provium" guest info --toml >provium.toml
cat >cost.test.lua <<'EOF'
local a = provium:vm("a", "default", { memory = "128M" }):boot()
test("runs", function(t)
  for i = 1, 300 do a:run("true"):assert_ok() end
end)
EOF

# milliseconds FILE COMMAND...: appends the wall time of the command.
milliseconds() {
	file=$1
	shift
	from=$(date +%s%N)
	"$@" >run.out 2>&1 || {
		cat run.out >&2
		exit 1
	}
	echo $((($(date +%s%N) - from) / 1000)) >>"$file"
}

median() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] / 1000 }'
}

i=0
while [ $i -lt "$rounds" ]; do
	rm -rf run
	milliseconds with "$bin/provium" run --journal=run cost.test.lua
	milliseconds without "$bin/provium" run --no-journal cost.test.lua
	milliseconds again "$bin/provium" replay --script run
	i=$((i + 1))
done
events=$("$bin/provium" journal show run | wc -l)
bytes=$(wc -c <run/journal.mdb)
awk -v a="$(median with)" -v b="$(median without)" -v c="$(median again)" -v n="$events" -v s="$bytes" 'BEGIN {
	printf "  %-44s %10.1f ms   floor %10.1f ms   ratio %.3f   (goal <= 1.01)\n", "lab run with the journal, against --no-journal", a, b, a / b
	printf "  %-44s %10.1f ms   live  %10.1f ms   1/%.0f\n", "its script executed again, without VMs", c, a, a / c
	printf "  %-44s %10d      %d bytes of journal.mdb, %.0f an event\n", "events", n, s, s / n
}'
