# A directory that holds a journal already is not written to.
. "$(dirname "$0")/../../lib/harness.sh"
profile
printf 'test("fine", function(t) end)\n' >a.test.lua
expect 0 "$provium" run --journal="$work/run" .
before=$(cksum <run/journal.mdb)
expect 2 "$provium" run --journal="$work/run" .
says err "$work/run"
[ "$before" = "$(cksum <run/journal.mdb)" ] || fail "the journal was changed"
expect 2 "$provium" run --no-journal --journal .
expect 0 "$provium" run --no-journal .
passed
