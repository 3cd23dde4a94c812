# Functions for tests that run the provium binary as a user would. Source it; the test's own lines follow.
#
# PV_TEST_BIN is the directory of the binaries; XDG_DATA_HOME has the built default guest. Each test gets a directory of its own,
# $work, as current directory and as home of all runs, which is removed when the test passes.
# shellcheck shell=sh

set -eu

: "${PV_TEST_BIN:?run me by ctest, or: sh tools/dev test NAME}"
name=$(basename "$0" .sh)
work=$(mktemp -d "${TMPDIR:-/tmp}/provium-test-$name.XXXXXX")
provium=$PV_TEST_BIN/provium
export XDG_STATE_HOME="$work/state" XDG_CACHE_HOME="${XDG_CACHE_HOME:-$work/cache}" XDG_RUNTIME_DIR="$work/rt"
mkdir -p "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
cd "$work"

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	for log in out err; do
		[ ! -s "$work/$log" ] || { printf -- '---- %s\n' "$log"; cat "$work/$log"; } >&2
	done
	printf -- '---- kept: %s\n' "$work" >&2
	trap - EXIT
	exit 1
}

# Whatever line of a test fails without a word of its own.
trap '[ $? = 0 ] || fail "a command of the test failed"' EXIT

skip() {
	printf 'SKIPPED: %s\n' "$*"
	trap - EXIT
	rm -rf "$work"
	exit 77
}

# profile LINE...: writes provium.toml with the default guest as profile "default"; LINEs are added to it, or replace its lines with the same key.
# shellcheck disable=SC2120 # most tests have no line to add
profile() {
	"$provium" guest info --toml >profile.toml
	for line in "$@"; do
		key=${line%% *}
		grep -v "^$key " profile.toml >rest.toml || true
		printf '%s\n' "$line" >>rest.toml
		mv rest.toml profile.toml
	done
	mv profile.toml provium.toml
}

# expect CODE COMMAND...: runs it, its output in ./out and ./err, and wants that exit code.
expect() {
	wanted=$1
	shift
	code=0
	"$@" >out 2>err || code=$?
	[ "$code" = "$wanted" ] || fail "exit code $code, $wanted wanted, of: $*"
}

# says FILE TEXT: FILE contains TEXT (plain).
says() {
	grep -qF -- "$2" "$1" || fail "$1 does not say: $2"
}

never_says() {
	! grep -qF -- "$2" "$1" || fail "$1 says: $2"
}

# until_true WHAT COMMAND...: waits (60 s at most) until the command succeeds.
until_true() {
	what=$1
	shift
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 1200 ] || fail "never within 60 s: $what"
		sleep 0.05
	done
}

# gone PATTERN: no process with that in its command line.
gone() {
	! pgrep -f -- "$1" >/dev/null
}

# start_waiting [FLAGS...]: starts a run whose VM "a" runs `sleep 1000`, and returns when the intent of that is in the journal. It is in
# $work/run, or with FLAGS that begin with "store" in the store. $pid: the runner.
start_waiting() {
	waiting=run place=--journal=$work/run
	if [ "${1-}" = store ]; then
		shift
		waiting=last place=--journal
	fi
	profile
	cat >a.test.lua <<-'LUA'
	local vm = provium:vm("a", "default"):boot()
	test("waits", function(t)
	    vm:write_file("/tmp/mark", "here")
	    vm:run("sleep 1000")
	end)
	LUA
	"$provium" run "$@" "$place" . >out 2>err &
	pid=$!
	until_true "the intent is committed" sleeping
}

sleeping() {
	kill -0 "$pid" 2>/dev/null || fail "the runner ended early"
	"$provium" journal show "$waiting" 2>/dev/null | grep -q 'sleep 1000'
}

# Nothing of this test is left: no process that names $work, no socket; and every journal is whole, folds to the state it states, and its scripts take
# the same way again.
nothing_left() {
	left=$(pgrep -f -- "$work" | grep -vx $$ || true)
	[ -z "$left" ] || fail "processes left: $(ps -o pid=,args= -p "$(echo "$left" | tr '\n' ',' | sed 's/,$//')")"
	left=$(find "$work" -type s)
	[ -z "$left" ] || fail "sockets left: $left"
	find "$work" -name journal.mdb >journals
	while read -r journal; do
		"$provium" audit "$(dirname "$journal")" >audit.out 2>&1 || fail "audit of $journal: $(cat audit.out)"
		again=0
		"$provium" replay --script "$(dirname "$journal")" >again.out 2>&1 || again=$?
		[ "$again" -lt 3 ] || fail "replay --script of $journal: exit code $again: $(cat again.out)"
	done <journals
}

passed() {
	nothing_left
	trap - EXIT
	cd /
	rm -rf "$work"
	exit 0
}

# empty_initrd PATH: a cpio archive with nothing in it but its trailer.
empty_initrd() {
	printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08XTRAILER!!!\0\0\0\0' \
		0 0 0 0 1 0 0 0 0 0 0 11 0 >"$1"
}

# until_says FILE TEXT PID: waits (60 s at most) until FILE contains TEXT while process PID lives.
until_says() {
	tries=0
	until grep -qF -- "$2" "$1" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || fail "$1 did not say \"$2\" within 60 s"
		kill -0 "$3" 2>/dev/null || fail "the runner ended before $1 said \"$2\""
		sleep 0.1
	done
}

# rogue MODE: from here on $provium has an agent that misbehaves (integration/rogue_agent), and a.test.lua boots one VM with it.
rogue() {
	mkdir bin
	cp "$PV_TEST_BIN/provium" "$PV_TEST_BIN/provium-keeper" bin/
	cp "$PV_TEST_BIN/rogue_agent" bin/provium-agent
	provium=$work/bin/provium
	printf 'provium:vm("a", "default", { kernel_cmdline = "console=ttyS0 rogue=%s" }):boot()\n' "$1" >a.test.lua
	printf 'test("fine", function(t) t:assert(true) end)\n' >b.test.lua
}
