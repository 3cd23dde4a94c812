# The first boot of an image is cold and makes its template; later ones go on from there, also in later runs. What cannot be served by a template boots cold.
. "$(dirname "$0")/../../lib/harness.sh"
export XDG_CACHE_HOME="$work/cache"
profile 'accel = "tcg"' 'memory = "192M"'
mkdir plain files
cat >plain/a.test.lua <<'LUA'
test("boots", function(t)
    for _, name in ipairs({ "one", "two" }) do
        local vm = provium:vm(name, "default"):boot()
        t:assert_eq(vm:run("hostname").stdout, name .. "\n")
    end
end)
LUA
cat >files/a.test.lua <<'LUA'
test("boots", function(t)
    local function boot(name, opts)
        local vm = provium:vm(name, "default"):boot(opts)
        t:assert_eq(vm:run("hostname").stdout, name .. "\n")
        return vm
    end
    local vm = boot("files", { files = { { path = "/etc/x", content = "staged" } } })
    t:assert_eq(vm:read_file("/etc/x"), "staged")
    boot("off", { template = false })
    boot("seed", { rng_seed = 7 })
    boot("early", { files = { { path = "/lib/provium/x", content = "" } } })
end)
LUA
# ways [FLAGS...] DIRECTORY: runs it and puts "NAME WAY" of each boot into ./ways.
ways() {
	rm -rf run
	expect 0 "$provium" run --cpus 8 --psi-threshold 0 --journal=run "$@"
	"$provium" replay run --kind boot | sed -n 's/.* vm \([a-z]*\) .*boot done: \([a-z]*\)[ ,].*/\1 \2/p' | sort | tr '\n' ' ' >ways
	nothing_left
}
store=$XDG_CACHE_HOME/provium/fixtures/templates
entries() { find "$store" -maxdepth 1 -name '*.snap' | wc -l; }

ways plain
[ "$(cat ways)" = "one cold two template " ] || fail "first run: $(cat ways)"
[ "$(entries)" = 1 ] || fail "$(entries) templates are kept"
[ -z "$(find run -size +8M)" ] || fail "left in the run: $(find run -size +8M)"
ways plain
[ "$(cat ways)" = "one template two template " ] || fail "second run: $(cat ways)"
ways --no-templates plain
[ "$(cat ways)" = "one cold two cold " ] || fail "without templates: $(cat ways)"
ways files
[ "$(cat ways)" = "early cold files template off cold seed cold " ] || fail "options: $(cat ways)"
[ "$(entries)" = 1 ] || fail "options have made another template"
# Another guest is another template.
sed -i 's/^memory .*/memory = "160M"/' provium.toml
ways plain
[ "$(cat ways)" = "one cold two template " ] || fail "less memory: $(cat ways)"
[ "$(entries)" = 2 ] || fail "$(entries) templates are kept"

# A VM with boot files is the first of all: it goes on from the template that its own boot has made.
rm -rf "$store"
ways files
[ "$(cat ways)" = "early cold files template off cold seed cold " ] || fail "files first: $(cat ways)"
[ "$(entries)" = 1 ] || fail "no template is kept of a VM with files"
passed
