# A record holds all that its scripts took in: executed again where the sources, the host files and the environment are gone, they see the same, and do
# nothing to the host.
. "$(dirname "$0")/../../lib/harness.sh"
profile
cp "$(dirname "$0")/all.test.lua" "$(dirname "$0")/helper.lua" .
cat >inputs.test.lua <<'END'
print("from the main chunk", os.getenv("PV_THERE"), os.time(), os.clock())
test("inputs", function(t)
	t:log(os.date() .. os.tmpname())
	local f <close> = assert(io.open("there", "a+")) f:write("x") f:seek("set") t:log(f:read("a"))
	local p = io.popen("echo ran >>ran; cat ran") t:log(p:read("a")) t:log(tostring(select(3, p:close())))
	t:log(tostring(os.execute("echo executed >>ran")))
	t:assert_eq(os.rename("there", "moved"), true)
	assert(os.remove(os.tmpname()))
end)
END
echo "was there" >there
PV_THERE=yes expect 0 "$provium" run --seed 5 --journal="$work/one" inputs.test.lua
grep -v "file(s)" out >out.one
says out.one "from the main chunk	yes"
expect 1 "$provium" run --seed 5 --journal="$work/two" all.test.lua
grep -v "file(s)" out >out.two
mkdir empty
mv one two out.one out.two empty
rm -f ./*.lua there moved ran provium.toml
cd empty || exit
expect 0 "$provium" replay --script one
grep -v "file(s)" out | cmp - out.one || fail "executed again, it says something else"
expect 1 "$provium" replay --script two
grep -v "file(s)" out | cmp - out.two || fail "executed again, it says something else"
never_says err diverge
[ ! -e ../ran ] && [ ! -e ran ] && [ ! -e ../moved ] || fail "something was done to the host"
passed
