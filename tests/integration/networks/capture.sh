# What bridge:capture gives is a file that tcpdump reads.
. "$(dirname "$0")/../../lib/harness.sh"
command -v tcpdump >/dev/null || skip "tcpdump is not there"
profile
cat >a.test.lua <<'LUA'
test("three pings", function(t)
    local lan = provium:bridge("lan")
    local a, b = provium:vm("a", "default"), provium:vm("b", "default")
    lan:attach({ a, b })
    provium:boot()
    local capture = lan:capture()
    a:run("ping -c 3 -i 0.2 b.lan"):assert_ok()
    local file = assert(io.open("x.pcap", "wb"))
    file:write(table.concat(capture:drain(1)))
    file:close()
    capture:close()
    local nic = lan:nic(a):counters()
    t:assert(nic.tx_packets >= 3 and nic.rx_packets >= 3 and nic.errors == 0)
    t:assert(nic.tx_bytes >= 3 * 98)
end)
LUA
expect 0 "$provium" run --cpus 8 --psi-threshold 0 .
expect 0 tcpdump -nr x.pcap icmp
[ "$(grep -c 'echo request' out)" = 3 ] || fail "not three requests"
[ "$(grep -c 'echo reply' out)" = 3 ] || fail "not three replies"
passed
