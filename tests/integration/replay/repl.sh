# The prompt of `replay --script --repl`: fed from a pipe, and on a terminal.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cat >a.test.lua <<'LUA'
local limit = 3
local function check(t, values)
    local sum = 0
    for _, value in ipairs(values) do
        sum = sum + value
    end
    t:assert(sum <= limit, "the sum is too high")
end
test("adds up", function(t)
    local values = { 1, 2, 3 }
    local name = os.getenv("PV_NOTHING") or "none"
    check(t, values)
end)
test("asks the host", function(t)
    local code = select(3, os.execute("exit 3"))
    t:assert_eq(code, 3)
    os.execute("exit 4")
end)
LUA
expect 1 "$provium" run --journal=run a.test.lua

# asks LINES WANTED [FLAG...] [FILE]: what the prompt answers, up to the report of the run
asks() {
	lines=$1 wanted=$2
	shift 2
	code=0
	printf '%s' "$lines" | timeout 60 "$provium" replay --script run --repl "$@" >out 2>err || code=$?
	sed '/^\(FAIL\|PASS\|ok\|$\)/,$d' out >answers
	printf '%s' "$wanted" | cmp -s - answers || fail "the prompt answers something else to: $lines"
}

asks ':where
:locals
sum
if sum > limit then
  limit = 10
end
limit, "a\tb"
:up
name
:bt
:down
:nothing
os.time()
' '-- a.test.lua:7: the sum is too high
a.test.lua:7: in upvalue '"'check'"'
     7 |     t:assert(sum <= limit, "the sum is too high")
a.test.lua:7: in upvalue '"'check'"'
     7 |     t:assert(sum <= limit, "the sum is too high")
t            t: 0x00000001
values       table: 0x00000002
sum          6
limit        3  (upvalue)
6
10	"a\tb"
a.test.lua:12: in the function of line 9
    12 |     check(t, values)
"none"
  a.test.lua:7: in upvalue '"'check'"'
> a.test.lua:12: in the function of line 9
a.test.lua:7: in upvalue '"'check'"'
     7 |     t:assert(sum <= limit, "the sum is too high")
:nothing is no command; :help lists them
prompt:1: os.time: not at the prompt: no task runs here, and the record answers only what the script itself does
'
[ "$code" = 1 ] || fail "exit code $code"
says out 'the sum is too high'
says out '1 passed, 1 failed'

# -- leaving, the end of the input, an end in the middle
asks ':quit
sum
' '-- a.test.lua:7: the sum is too high
a.test.lua:7: in upvalue '"'check'"'
     7 |     t:assert(sum <= limit, "the sum is too high")
'
asks 'do' '-- a.test.lua:7: the sum is too high
a.test.lua:7: in upvalue '"'check'"'
     7 |     t:assert(sum <= limit, "the sum is too high")
the input ends in the middle of a piece of Lua
'
expect 1 "$provium" replay --script run --repl </dev/null
says out '1 passed, 1 failed'

# -- where the script diverges, before the error unwinds it
sed 's/exit 4/exit 5/; s/limit = 3/limit = 6/' a.test.lua >b.lua
mkdir new
mv b.lua new/a.test.lua
asks 'code
' '-- the script diverges from its record: now host_run "exit 5" at a.test.lua:17; recorded (event 19): host_run "exit 4" at a.test.lua:17; first difference: command: "exit 5" now, "exit 4" then
a.test.lua:17: in the function of line 14
    17 |     os.execute("exit 5")
3
' new/a.test.lua
[ "$code" = 3 ] || fail "exit code $code"
# one that is found when nothing is at work any more
sed '/exit 4/d; s/limit = 3/limit = 6/' a.test.lua >new/a.test.lua
asks 'limit
' '-- the script diverges from its record: now the task ends, passed; recorded (event 19): host_run "exit 4" at a.test.lua:17
no Lua function is at work
nil
' new/a.test.lua
[ "$code" = 3 ] || fail "exit code $code"

# -- where --until stops: the task waits for the outcome of its call, the event behind
call=$("$provium" replay run --kind host_run | sed -n 's/^ *\([0-9]*\) .*host_run exit 3 .*/\1/p' | head -n 1)
sed 's/limit = 3/limit = 6/' a.test.lua >new/a.test.lua
asks ':locals
' "-- stopped behind event $call
a.test.lua:15: in the function of line 14
    15 |     local code = select(3, os.execute(\"exit 3\"))
t            t: 0x00000001
" --until "$call" new/a.test.lua
[ "$code" = 0 ] || fail "exit code $code"

# -- flags that do not go with it
expect 2 "$provium" replay run --repl
says err '--repl looks into scripts that are executed again: it needs --script'
expect 2 "$provium" replay --script run --repl --json
says err '--repl and --json exclude each other'

# -- on a terminal: Ctrl-C clears what was typed, and stops what computes; the arrow up brings lines back; Ctrl-D leaves
command -v script >/dev/null || { echo "no script(1): not tried on a terminal"; passed; }
mkfifo keys
TERM=xterm timeout 60 script -qfec "exec '$provium' replay --script run --repl" /dev/null <keys >screen 2>&1 &
pid=$!
exec 3>keys
until_says screen '     7 |' "$pid"
until_true "the prompt is there" grep -q '> ' screen
printf 'limit + 100\r' >&3
until_says screen '103' "$pid"
printf 'do limit = 77\r' >&3
until_says screen '>> ' "$pid"
printf 'error("dropped") ' >&3
until_says screen 'dropped' "$pid"
printf '\003' >&3
until_says screen '^C' "$pid"
printf 'limit + 200\r' >&3
until_says screen '203' "$pid"
printf '\033[A\033[A\033[A\r' >&3
until_true "103 stands there twice" sh -c '[ "$(grep -c "^103" screen)" = 2 ]'
printf 'print("computes") while true do end\r' >&3
until_true "it computes" grep -q '^computes' screen
printf '\003' >&3
until_says screen 'prompt:1: interrupted' "$pid"
printf '\004' >&3
code=0
wait "$pid" || code=$?
[ "$code" = 1 ] || fail "exit code $code on a terminal"
says screen '1 passed, 1 failed'
never_says screen '177'
passed
