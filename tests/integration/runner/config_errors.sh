# Every mistake in provium.toml is exit 2 and names file, key and the nearest known key; command lines likewise.
. "$(dirname "$0")/../../lib/harness.sh"
printf 'test("fine", function(t) end)\n' >a.test.lua
profile 'memmory = "1G"'
expect 2 "$provium" run .
says err provium.toml
says err memmory
says err '"memory"'
profile 'memory = "lots"'
expect 2 "$provium" run .
says err lots
profile 'accel = "hyper"'
expect 2 "$provium" run .
says err hyper
printf 'not toml at all [[[\n' >provium.toml
expect 2 "$provium" run .
says err provium.toml
profile
expect 2 "$provium" run --config nowhere.toml .
says err nowhere.toml
expect 2 "$provium" run --verbos .
says err --verbose
expect 2 "$provium" run nowhere.test.lua
says err nowhere.test.lua
expect 2 "$provium" a.test.lua
says err "provium run"
expect 2 "$provium" replay nosuchrun
says err nosuchrun
passed
