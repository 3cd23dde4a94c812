# What bridge:capture and nic:capture give are files that tcpdump and Wireshark's reader take for what they are.
. "$(dirname "$0")/../../lib/harness.sh"
for reader in tcpdump tshark capinfos; do
	command -v $reader >/dev/null || skip "$reader is not there"
done
profile
cat >a.test.lua <<'LUA'
test("three pings", function(t)
    local lan = provium:bridge("lan")
    local a, b = provium:vm("a", "default"), provium:vm("b", "default")
    lan:attach({ a, b })
    provium:boot()
    local captures = { bridge = lan:capture(), nic = lan:nic(b):capture() }
    a:run("ping -c 3 -i 0.2 b.lan"):assert_ok()
    for name, capture in pairs(captures) do
        local file = assert(io.open(name .. ".pcap", "wb"))
        file:write(table.concat(capture:drain(1)))
        file:close()
        capture:close()
    end
    local nic = lan:nic(a):counters()
    t:assert(nic.tx_packets >= 3 and nic.rx_packets >= 3 and nic.errors == 0)
    t:assert(nic.tx_bytes >= 3 * 98)
end)
LUA
expect 0 "$provium" run --cpus 8 --psi-threshold 0 .
for pcap in bridge nic; do
	expect 0 tcpdump -nr $pcap.pcap icmp
	[ "$(grep -c 'echo request' out)" = 3 ] || fail "$pcap: not three requests"
	[ "$(grep -c 'echo reply' out)" = 3 ] || fail "$pcap: not three replies"
	# Each request knows its answer, each frame has its bytes and its checksums are right.
	expect 0 tshark -n -o ip.check_checksum:TRUE -r $pcap.pcap -T fields -e icmp.type -e icmp.resp_to -e frame.len -e icmp.checksum.status \
		-e ip.checksum.status -E occurrence=f -Y icmp
	[ "$(cut -f 1,3- out | sort | uniq -c | tr -s ' \t' ' ')" = " 3 0 98 1 1
 3 8 98 1 1" ] || fail "$pcap: tshark does not see three pings"
	[ "$(awk '$1 == 0 && $2 != ""' out | wc -l)" = 3 ] || fail "$pcap: answers do not follow requests"
	expect 0 tshark -n -r $pcap.pcap -Y '_ws.malformed || _ws.short || frame.time_delta < 0'
	[ ! -s out ] || fail "$pcap: frames that are none"
	expect 0 capinfos -tEcs $pcap.pcap
	grep -q '^File type: *Wireshark/tcpdump/... - pcap$' out || fail "$pcap: not a pcap"
	grep -q '^File encapsulation: *Ethernet$' out || fail "$pcap: not of Ethernet"
done
passed
