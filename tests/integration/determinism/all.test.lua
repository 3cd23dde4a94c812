-- Everything a script can see that could be another in another process. Shows nothing that it takes in from the host.
package.path = "./?.lua;" .. package.path
local helper = require("helper")

local function show(t, ...)
	local values = table.pack(...)
	for i = 1, values.n do values[i] = tostring(values[i]) end
	t:log(table.concat(values, " "))
end

test("keys", { tags = { "b", "a" }, zeta = 1, alpha = { x = 1, y = { 2, 3 }, z = true }, [7] = "seven" }, function(t)
	local jumble = helper.jumble(60)
	for k, v in pairs(jumble) do show(t, k, v) end
	local n = 0
	for k in next, jumble do n = n + 1 if n % 10 == 0 then show(t, n, k) end end
	for k, v in pairs(jumble) do if v % 2 == 0 then jumble[k] = nil jumble["new" .. v] = v end end
	for k, v in pairs(jumble) do show(t, v) end
	show(t, json.encode({ b = 1, a = { 1, 2 }, [3] = "x" }))
end)

test("objects", function(t)
	local objects = { {}, function() end, coroutine.create(print), io.stdout, provium, print, setmetatable({}, { __name = "N" }) }
	for i = #objects, 1, -1 do show(t, objects[i], string.format("%p %s", objects[i], objects[i])) end
	for i = 1, 20 do show(t, {}) collectgarbage() end
	show(t, select(2, pcall(error, {})), t, _G)
end)

test("sorting and random numbers", function(t)
	local list = {}
	for i = 1, 3000 do list[i] = { math.random(5), i } end
	table.sort(list, function(a, b) return a[1] < b[1] end)
	for i = 1, 3000, 100 do show(t, list[i][1], list[i][2]) end
	show(t, math.random(), math.randomseed())
	show(t, math.random(1 << 40))
	-- long stretches of one value are what Lua's own takes the clock for
	local saw = {}
	for i = 1, 2000 do saw[i] = i % 2 end
	local calls = 0
	table.sort(saw, function(a, b) calls = calls + 1 return a < b end)
	show(t, calls)
end)

test("errors", function(t)
	local wrong = {}
	for i = 1, 40 do wrong["no" .. i] = i end
	wrong[{}], wrong[print] = 1, 2
	show(t, pcall(provium.vm, provium, "v", "default", wrong))
	show(t, pcall(wait_until, function() end, wrong))
	show(t, pcall(json.encode, { [{}] = 1, [print] = 2, [true] = 3 }))
	show(t, pcall(test, "late", wrong, print))
	t:assert_eq({}, {})
end)

test("an error with a traceback", function(t)
	local function inner(x) return x.y.z end
	local function outer() inner({ helper.jumble(3) }) return 1 end
	outer()
end)

test("the lab", function(t)
	provium:vm("a", "default", { memory = "256M", files = { { path = "/b", content = "x" }, { path = "/a", content = "y" } } })
	local sub = provium:lab("sub")
	for name in pairs({ x = 1, y = 2, z = 3, w = 4, v = 5 }) do sub:bridge(name) end
	provium:include({ sub.x, sub.y })
	for _, member in ipairs(provium:members()) do show(t, member.kind, member.name) end
	provium:depends_on_file("nothing")
	co.spawn(function() for i = 1, 3 do wait_until(function() return i end) end show(t, "in a task") end):join()
	local first = coroutine.wrap(function() provium:barrier("b", 2, 5) show(t, "one") end)
	local second = coroutine.wrap(function() provium:barrier("b", 2, 5) show(t, "two") end)
	first() second()
end)

test("the host", function(t)
	local file <close> = assert(io.open("file.txt", "w+"))
	file:write("a line\n", 12, "\n", string.rep("x", 5000)) file:seek("set")
	show(t, file:read("l", "n", "l"), #file:read("a"), file)
	show(t, os.remove("file.txt"), io.open("/nonexistent/file"))
	show(t, os.time() > 0, os.clock() >= 0, #os.date() > 0, os.getenv("HOME") ~= nil, os.time({ year = 2020, month = 1, day = 1, isdst = false }) > 0)
	show(t, os.date("!%Y", 0), loadfile("helper.lua"), pcall(require, "no.such.module"))
	for line in io.lines("helper.lua") do t:log(line) break end
	local temporary = io.tmpfile() temporary:close()
	show(t, temporary)
end)

test("commands of the host", function(t)
	show(t, os.execute("exit 3"))
	local command <close> = io.popen("echo one line")
	show(t, command)
	-- nothing is shown before the end: when a command ends is the host's affair
	local line, rest = command:read("l", "a")
	show(t, command:close())
	show(t, line, rest)
	local sink = io.popen("cat >/dev/null; kill -TERM $$", "w")
	sink:write("text") show(t, sink:close())
end)
