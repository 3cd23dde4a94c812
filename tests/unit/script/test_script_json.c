/* json.encode and json.decode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

/* Each line is a Lua expression and its JSON. */
static void test_json__encode(void **state)
{
	static const char *const cases[][2] = {
		{ "nil", "null" },
		{ "true", "true" },
		{ "-5", "-5" },
		{ "math.mininteger", "-9223372036854775808" },
		{ "1.5", "1.5" },
		{ "1.0", "1.0" },
		{ "0.1", "0.1" },
		{ "1e300", "1e+300" },
		{ "'a'", "\"a\"" },
		{ "'q\"\\\\/\\n\\r\\t\\b\\f\\0\\1\\127'", "\"q\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u0001\\u{7f}\"" },
		{ "'\\u{e9}\\u{10ffff}'", "\"\\u{e9}\\u{10ffff}\"" },
		{ "{}", "{}" },
		{ "{1, 2, 3}", "[1,2,3]" },
		{ "{1, nil, 3}", "[1,null,3]" },
		{ "{[3]=1}", "[null,null,1]" },
		{ "{b=1, a={}, ['a b']=2}", "{\"a\":{},\"a b\":2,\"b\":1}" },
		{ "{[1]='x', y=2}", "{\"1\":\"x\",\"y\":2}" },
		{ "{[0]='x', [10]=1, [9]=2}", "{\"0\":\"x\",\"10\":1,\"9\":2}" },
		{ "{[2.0]=1}", "[null,1]" },
		{ "json.decode('[]')", "[]" },
		{ "json.decode('{\"a\":[]}')", "{\"a\":[]}" },
		{ "{{}, {{}}}", "[{},[{}]]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = pv_xasprintf("t:assert_eq(json.encode(%s), [==[%s]==])", cases[i][0], cases[i][1]);

		/* \u{..} of the expectation is Lua's, in a quoted string */
		if (strstr(cases[i][1], "\\u{") != NULL) {
			free(body);
			body = pv_xasprintf("t:assert_eq(json.encode(%s), (([==[%s]==]):gsub('\\\\u{(%%x+)}', "
			                    "function(c) return utf8.char(tonumber(c, 16)) end)))",
			                    cases[i][0], cases[i][1]);
		}
		expect_pass(body);
		free(body);
	}
}

static void test_json__encode_refuses(void **state)
{
	static const char *const cases[][2] = {
		{ "print", "a function has no form in JSON" },
		{ "{a=print}", "a function has no form in JSON" },
		{ "io.stdout", "a userdata has no form in JSON" },
		{ "coroutine.create(print)", "a thread has no form in JSON" },
		{ "0/0", "NaN has no form in JSON" },
		{ "-1/0", "-inf has no form in JSON" },
		{ "'\\xff'", "a string is not valid UTF-8" },
		{ "'\\xed\\xa0\\x80'", "a string is not valid UTF-8" },
		{ "{['\\xff']=1}", "a string is not valid UTF-8" },
		{ "{[true]=1}", "a key is a boolean" },
		{ "{[1.5]=1}", "a key is a number" },
		{ "{[1]=1, ['1']=2, a=3}", "the key 1 stands there as a number and as a string" },
		{ "{[1000]=1}", "an array of 1 entries up to index 1000 is too sparse" },
		{ "{[math.maxinteger]=1}", "is too sparse" },
		{ "(function() local a = {} a[1] = {a} return a end)()", "a table contains itself (cycle)" },
		{ "(function() local a = {} for i = 1, 300 do a = {a} end return a end)()",
		  "nested more than 200 deep" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = pv_xasprintf("json.encode(%s)", cases[i][0]);

		expect_body(body, FAILED, cases[i][1]);
		free(body);
	}
	expect_pass("local shared = {} t:assert_eq(json.encode{shared, shared}, '[{},{}]') json.encode{[110]=1}");
	expect_body("json.encode()", FAILED, "json.encode: one value is needed");
}

static void test_json__decode(void **state)
{
	(void)state;
	expect_pass(
	    "local d = json.decode\n"
	    "t:assert_eq(d'null', nil) t:assert_eq(d' true ', true) t:assert_eq(d'\"\"', '')\n"
	    "t:assert_eq(d'9223372036854775807', math.maxinteger) t:assert_eq(d'-9223372036854775808', math.mininteger)\n"
	    "t:assert_eq(d'18446744073709551615', -1) t:assert_eq(d'9223372036854775808', math.mininteger)\n"
	    "t:assert_eq(math.type(d'18446744073709551616'), 'float') t:assert_eq(d'18446744073709551616', 2.0^64)\n"
	    "t:assert_eq(math.type(d'-9223372036854775809'), 'float') t:assert_eq(math.type(d'1.0'), 'float')\n"
	    "t:assert_eq(math.type(d'1e2'), 'float') t:assert_eq(d'1E+2', 100.0) t:assert_eq(math.type(d'-0'), 'integer')\n"
	    "t:assert_eq(d'\"\\\\u00e9\\\\ud83d\\\\ude00\\\\n\\\\/\\\\u0000\"', '\\u{e9}\\u{1f600}\\n/\\0')\n"
	    "local a = d'[1, null, {\"a\": null, \"b\": [true, false]}]'\n"
	    "t:assert_eq(a[1], 1) t:assert_eq(a[2], nil) t:assert_eq(next(a[3]), 'b') t:assert_eq(a[3].b[2], false)\n"
	    "t:assert_eq(d'{\"a\":1,\"a\":2}'.a, 2) t:assert_eq(d(string.rep('[', 200) .. string.rep(']', 200))[2], nil)");
}

static void test_json__decode_refuses(void **state)
{
	static const char *const cases[][2] = {
		{ "", "the text ends where a value is expected at line 1, column 1" },
		{ "[1,\\n 2,]", "a value expected, found \"]\" at line 2, column 4" },
		{ "[1 2]", "\",\" or \"]\" expected, found \"2\" at line 1, column 4" },
		{ "{1:2}", "a member name in quotes expected, found \"1\" at line 1, column 2" },
		{ "{\"a\" 1}", "\":\" expected, found \"1\"" },
		{ "{\"a\":1,}", "a member name in quotes expected" },
		{ "nul", "a value expected, found \"n\"" },
		{ "1 x", "the end of the text expected, found \"x\" at line 1, column 3" },
		{ "01", "the end of the text expected, found \"1\"" },
		{ "-", "the text ends where a digit is expected" },
		{ "1.", "the text ends where a digit is expected" },
		{ "1e", "the text ends where a digit is expected" },
		{ "+1", "a value expected, found \"+\"" },
		{ "\"a", "the text ends where a character of a string is expected" },
		{ "\"a\\nb\"", "a character of a string expected, found byte 10" },
		{ "\"\\\\x\"", "an escape (one of \"\\/bfnrtu) expected, found \"x\"" },
		{ "\"\\\\u12g4\"", "a hexadecimal digit expected, found \"g\"" },
		{ "\"\\\\ud800\"", "first half of a surrogate pair without the second" },
		{ "\"\\\\ud800\\\\u0041\"", "first half of a surrogate pair without the second" },
		{ "\"\\\\udc00\"", "second half of a surrogate pair without the first" },
		{ "\"\\xff\"", "a string is not valid UTF-8 at line 1, column 2" },
		{ "\\xff", "a value expected, found byte 255" },
		{ "NaN", "a value expected, found \"N\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = pv_xasprintf("json.decode('%s')", cases[i][0]);

		expect_body(body, FAILED, cases[i][1]);
		free(body);
	}
	expect_body("json.decode(string.rep('[', 100000))", FAILED, "nested more than 200 deep at line 1, column 201");
	expect_body("json.decode(5)", FAILED, "json.decode: a string expected, got number");
}

/* Values of every kind, encoded and decoded, stay what they are. */
static void test_json__round_trip(void **state)
{
	(void)state;
	expect_pass(
	    "math.randomseed(1)\n"
	    "local function value(depth)\n"
	    "  local kind = math.random(depth > 4 and 5 or 7)\n"
	    "  if kind == 1 then return math.random(0) elseif kind == 2 then return math.random() * 10^math.random(-300, 300)\n"
	    "  elseif kind == 3 then return math.random(2) == 1 elseif kind == 4 then return utf8.char(math.random(0, 0xd7ff), math.random(0x10000, 0x10ffff))\n"
	    "  elseif kind == 5 then return json.decode('[]') end\n"
	    "  local r = {} for i = 1, math.random(5) do r[kind == 6 and i or 'k' .. math.random(9)] = value(depth + 1) end return r end\n"
	    "for i = 1, 300 do local text = json.encode(value(1)) t:assert_eq(json.encode(json.decode(text)), text) end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json__encode),     cmocka_unit_test(test_json__encode_refuses),
		cmocka_unit_test(test_json__decode),     cmocka_unit_test(test_json__decode_refuses),
		cmocka_unit_test(test_json__round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
