/* Bridges and NICs from Lua. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define LAN                                                                                                            \
	"local lan = provium:bridge('lan') local a, b = provium:vm('a', 'default'), provium:vm('b', 'default')\n"      \
	"lan:attach({a, b}) local function m() return table.concat(lan:members(), ' ') end\n"

static void test_bridge__members(void **state)
{
	(void)state;
	expect_pass(LAN "t:assert_eq(m(), 'a b') lan:attach(a) lan:attach('b') lan:attach({a, a, 'b'})\n"
	                "t:assert_eq(m(), 'a b') lan:detach('a') lan:detach(a) lan:detach('zz') t:assert_eq(m(), 'b')\n"
	                "lan:attach(a) t:assert_eq(m(), 'b a')");
	/* by a name that is declared later */
	expect_pass(LAN "lan:attach('c') t:assert_eq(m(), 'a b c') t:assert(not pcall(lan.nic, lan, 'c'))\n"
	                "local c = provium:vm('c', 'default') t:assert_eq(lan:nic('c'):vm_name(), 'c')");
	expect_body(LAN "lan:attach(7)", FAILED, "bridge:attach: a VM or its name expected, got number");
	expect_body(LAN "lan:attach({'c', 7})", FAILED,
	            "bridge:attach: element 2: a VM or its name expected, got number");
	expect_pass(LAN "pcall(lan.attach, lan, {'c', false}) t:assert_eq(m(), 'a b')");
	expect_body(LAN "lan:attach({x = a})", FAILED, "other keys or holes");
	expect_body(LAN "lan:attach()", FAILED, "got nil");
	expect_body(LAN "lan:attach('bad name')", FAILED, "bad VM name");
	expect_body(LAN "provium:lab('s'):vm('a', 'default') lan:attach(provium.s.a)", FAILED,
	            "another VM \"a\" is attached to the bridge \"lan\"");
}

static void test_bridge__attach_while_up(void **state)
{
	(void)state;
	expect_pass(LAN "a:boot() local w = provium:bridge('w') w:attach(a) w:detach(a) t:assert_eq(#w:members(), 0)\n"
	                "w:attach(a) t:assert_eq(w:nic(a):bridge(), 'w') a:shutdown() t:assert_eq(#w:members(), 1)");
	expect_body("local v = provium:vm('stuck', 'default'):boot() provium:bridge('lan'):attach(v)", FAILED,
	            "bridge:attach: the VM \"stuck\": no room on the bus");
	expect_pass("local v, w = provium:vm('stuck', 'default'):boot(), provium:vm('w', 'default'):boot()\n"
	            "local lan = provium:bridge('lan') t:assert(not pcall(lan.attach, lan, {w, v}))\n"
	            "t:assert_eq(table.concat(lan:members(), ' '), 'w')");
}

static void test_bridge__partitions(void **state)
{
	(void)state;
	expect_pass(
	    LAN
	    "t:assert(not lan:is_partitioned(a, b)) lan:partition(a, 'b') lan:partition(b, a)\n"
	    "t:assert(lan:is_partitioned(a, b)) t:assert(lan:is_partitioned('b', 'a'))\n"
	    "lan:unpartition({from = a, to = b}) t:assert(lan:is_partitioned(a, b))\n"
	    "lan:unpartition(a, b) t:assert(not lan:is_partitioned(a, b)) lan:unpartition(a, b)\n"
	    "lan:partition({from = a, to = b}) t:assert(lan:is_partitioned(a, b))\n"
	    "t:assert(not lan:is_partitioned(b, a)) lan:unpartition({from = a, to = b})\n"
	    "lan:partition_all() t:assert(lan:is_partitioned(b, a)) lan:restore_all()\n"
	    "t:assert(not lan:is_partitioned(b, a)) lan:partition('x', 'y') t:assert(lan:is_partitioned('y', 'x'))");
	expect_body(LAN "lan:partition(a, a)", FAILED, "bridge:partition: \"a\" stands on both sides");
	expect_body(LAN "lan:partition({from = a})", FAILED, "bridge:partition: `to` is missing beside `from`");
	expect_body(LAN "lan:partition({from = a, to = b, both = true})", FAILED, "unknown option \"both\"");
	expect_body(LAN "lan:partition(a)", FAILED, "a VM or its name expected, got no value");
}

static void test_bridge__impairments(void **state)
{
	(void)state;
	expect_pass(
	    LAN
	    "lan:add_latency(50) t:assert_eq(lan:latency_ms(), 50) lan:add_latency({ms = 12.5, jitter_ms = 2})\n"
	    "t:assert_eq(lan:latency_ms(), 12.5) lan:drop_rate(10) t:assert_eq(lan:drop_rate_pct(), 10)\n"
	    "lan:bandwidth_limit(1e6) t:assert_eq(lan:bandwidth_bps(), 1000000)\n"
	    "lan:add_latency({from = a, to = b, ms = 1}) lan:add_directional_latency({from = b, to = a, ms = 2})\n"
	    "lan:directional_drop_rate({from = a, to = 'b', p = 5}) lan:bandwidth_limit({from = a, to = b, bps = 9})\n"
	    "lan:jitter(3) lan:jitter({from = a, to = b, ms = 3}) lan:jitter({jitter_ms = 4})\n"
	    "t:assert_eq(lan:latency_ms(), 12.5) lan:reset() t:assert_eq(lan:latency_ms(), 0)\n"
	    "t:assert_eq(lan:drop_rate_pct(), 0) t:assert_eq(lan:bandwidth_bps(), 0) t:assert_eq(m(), 'a b')");
	expect_body(LAN "lan:add_latency(-1)", FAILED, "bridge:add_latency: -1 is not between 0 and");
	expect_body(LAN "lan:add_latency(0/0)", FAILED, "nan is not between");
	expect_body(LAN "lan:add_latency('5')", FAILED, "bridge:add_latency: a number expected, got string");
	expect_body(LAN "lan:add_latency({from = a, to = b})", FAILED, "bridge:add_latency: `ms` is missing");
	expect_body(LAN "lan:add_latency({to = b, ms = 1})", FAILED, "`from` is missing beside `to`");
	expect_body(LAN "lan:add_directional_latency(5)", FAILED, "a table expected, got number");
	expect_body(LAN "lan:drop_rate(101)", FAILED, "101 is not between 0 and 100");
	expect_body(LAN "lan:drop_rate({ms = 3})", FAILED, "unknown option \"ms\"");
}

static void test_bridge__isolation_and_reset(void **state)
{
	(void)state;
	expect_pass(
	    LAN "lan:isolate(a) lan:isolate('a') t:assert(lan:is_isolated(a)) t:assert(not lan:is_isolated(b))\n"
	        "lan:partition(a, b) lan:reset() t:assert(not lan:is_partitioned(a, b)) t:assert(lan:is_isolated(a))\n"
	        "lan:unisolate(a) lan:unisolate(a) t:assert(not lan:is_isolated(a))");
}

static void test_bridge__routes_and_uplink(void **state)
{
	(void)state;
	expect_pass(
	    LAN "local w, x = provium:bridge('w'), provium:bridge('x') lan:route(w) lan:route('w')\n"
	        "lan:route({x, 'w'}) t:assert_eq(table.concat(lan:routes(), ' '), 'w x') t:assert_eq(#w:routes(), 0)\n"
	        "lan:enable_uplink() lan:enable_uplink() lan:disable_uplink() lan:disable_uplink()");
	expect_body(LAN "lan:route(lan)", FAILED, "cannot have a route to itself");
	expect_body(LAN "lan:route('zz')", FAILED, "bridge:route: there is no bridge \"zz\"");
	expect_body(LAN "lan:route({'lan', 3})", FAILED, "bridge:route: element 1: the bridge \"lan\" cannot");
	expect_body("provium:bridge('nowhere'):enable_uplink()", FAILED, "bridge:enable_uplink: no host network");
}

static void test_bridge__close(void **state)
{
	(void)state;
	expect_pass(LAN "a:boot() lan:close() lan:close() t:assert_eq(m(), '') t:assert_eq(lan:name(), 'lan')");
	expect_body(LAN "lan:close() lan:attach(a)", FAILED, "bridge:attach: the bridge \"lan\" is closed");
}

static void test_nic__methods(void **state)
{
	(void)state;
	expect_pass(LAN "local n = lan:nic(a) t:assert_eq(n:counters().tx_bytes, 0) a:boot()\n"
	                "t:assert_eq(n:counters().tx_packets, 7) t:assert_eq(n:counters().errors, 0)\n"
	                "n:disconnect() n:disconnect() t:assert_eq(m(), 'b') n:reconnect() t:assert_eq(m(), 'a b')\n"
	                "t:assert_eq(tostring(n), 'Nic a on lan')");
	expect_body(LAN "lan:nic('zz')", FAILED, "bridge:nic: the VM \"zz\" is not attached to the bridge \"lan\"");
	expect_body(LAN "lan:nic(a):capture()", FAILED,
	            "nic:capture: the VM \"a\" has no NIC on the bridge \"lan\" now: not booted?");
	expect_body(LAN "local n = lan:nic(a) lan:detach(a) n:disconnect()", FAILED,
	            "not attached to the bridge \"lan\" any more");
}

static void test_nic__of_a_vm(void **state)
{
	(void)state;
	expect_pass(LAN "local w = provium:bridge('alpha') w:attach(a) t:assert_eq(a:nic('lan'):bridge(), 'lan')\n"
	                "t:assert_eq(a:nic('eth0'):bridge(), 'alpha') t:assert_eq(a:nic('ens1'):bridge(), 'lan')\n"
	                "t:assert_eq(a:nic('enp0s1'):bridge(), 'lan')");
	expect_body(LAN "a:nic('eth1')", FAILED, "vm:nic: the VM \"a\" has no NIC \"eth1\"");
	expect_body(LAN "a:nic('wlan0')", FAILED, "has no NIC \"wlan0\"");
	/* booted: the guest tells the MAC of its interface; this one has no such file, or tells nothing */
	expect_body(LAN "a:boot() a:nic('eth0')", FAILED, "has no NIC \"eth0\"");
}

static void test_capture__stream(void **state)
{
	(void)state;
	expect_pass(LAN
	            "a:boot() local c = lan:capture() t:assert_eq(c:next(), 'pcap') t:assert_eq(c:next(0.01), nil)\n"
	            "t:assert_eq(a:open_stream_count(), 1) t:assert(c:creation_site() ~= nil)\n"
	            "local d = lan:nic(a):capture() t:assert_eq(a:open_stream_count(), 2)\n"
	            "t:assert_eq(b:open_stream_count(), 1) t:assert_eq(#d:drain(0.01), 1)\n"
	            "c:close() c:close() t:assert(c:eof()) t:assert_eq(a:open_stream_count(), 1)");
	expect_body(LAN "a:boot() local c = lan:capture() a:snapshot()", FAILED, "bridge_capture(lan) at ");
	expect_body(LAN "local c = lan:capture() c:close() c:expect('x')", FAILED, "capture closed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bridge__members),
		cmocka_unit_test(test_bridge__attach_while_up),
		cmocka_unit_test(test_bridge__partitions),
		cmocka_unit_test(test_bridge__impairments),
		cmocka_unit_test(test_bridge__isolation_and_reset),
		cmocka_unit_test(test_bridge__routes_and_uplink),
		cmocka_unit_test(test_bridge__close),
		cmocka_unit_test(test_nic__methods),
		cmocka_unit_test(test_nic__of_a_vm),
		cmocka_unit_test(test_capture__stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
