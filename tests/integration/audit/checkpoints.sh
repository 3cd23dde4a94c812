# Checkpoints of a run: made at its end, signed if there is a key, and what they find later.
. "$(dirname "$0")/../../lib/harness.sh"
command -v openssl >/dev/null || skip "no openssl to make keys with"
profile
openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub
openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out other.pub
mv provium.toml rest.toml
{ printf '[provium]\nsigning_key = "key.pem"\n'; cat rest.toml; } >provium.toml
cat >a.test.lua <<'LUA'
test("one", function(t) t:log("first") end)
LUA
expect 0 "$provium" run --journal="$work/run" .
[ "$(sed -n 5p run/checkpoint | cut -d' ' -f2)" = provium ] || fail "not signed: $(cat run/checkpoint)"
cp run/checkpoint note
expect 0 "$provium" audit run --against note --key key.pub
says out "all signed with the key"
says out "are those of the checkpoint"

# another key, no key
expect 3 "$provium" audit run --key other.pub
says err "not with the one given"
expect 2 "$provium" audit run --key nowhere.pub
expect 2 "$provium" audit run --against nowhere
echo nonsense >bad
expect 2 "$provium" audit run --against bad
says err "not a checkpoint"

# another run in the same place, as whole as the first
rm -rf run
sed -i 's/first/second/' a.test.lua
expect 0 "$provium" run --journal="$work/run" .
expect 0 "$provium" audit run
expect 3 "$provium" audit run --against note
says err "against"

# one bit in an event, the last page
size=$(stat -c %s run/journal.mdb)
cp run/journal.mdb whole
LC_ALL=C sed -i 's/second/Second/g' run/journal.mdb
expect 3 "$provium" audit run
says err "failed at event"
cp whole run/journal.mdb
truncate -s $((size - 4096)) run/journal.mdb
expect 3 "$provium" audit run
cp whole run/journal.mdb
expect 0 "$provium" audit run

# keys that cannot be used end the run before it begins
for key in nowhere.pem key.pub a.test.lua; do
	sed -i "s/^signing_key.*/signing_key = \"$key\"/" provium.toml
	expect 2 "$provium" run --journal="$work/run2" .
	says err signing_key
	[ ! -e run2 ] || fail "a run directory was made"
done
rm -f provium.toml # its key is none
passed
