-- What os.execute and io.popen say; command.txt is what Lua's own say.
local function log(...) local s = table.pack(...) for i = 1, s.n do s[i] = tostring(s[i]) end print((table.concat(s, ' '):gsub('%(0x%x+%)', '(ID)'))) end
log(os.execute()) log(os.execute('true')) log(os.execute('exit 3')) log(os.execute('kill -9 $$')) log(os.execute('nothing-of-the-kind 2>/dev/null'))
log(select(2, pcall(function() os.execute({}) end))) log(select(2, pcall(function() io.popen('x', 'rw') end)))
local f = io.popen('printf "a line\\n12 0x1F zz\\nlast"') log(io.type(f), f) log(f:read()) log(f:read('n', 'n', 'n')) log(f:read('L', 'a', 'a', 'l')) log(f:close()) log(io.type(f))
log(select(2, pcall(function() f:read() end)))
f = io.popen('printf "abcdef"; exit 7', 'r') log(f:read(0, 2, 0, 10, 0)) log(f:read('a')) log(f:read(1)) log(f:close())
for l in io.popen('printf "1\\n2\\n\\n3"'):lines() do log('[' .. l .. ']') end
for a, b in io.popen('printf "1x2y"'):lines(1, 1) do log(a, b) end
f = io.popen('yes') log(f:read(), f:read(5)) log(f:close())
f = io.popen('head -c 300000 /dev/zero | tr "\\0" x') log(#f:read('a')) log(f:close())
f = io.popen('cat >/dev/null; exit 5', 'w') log(f:write('some text', 12, '\n', ('y'):rep(200000)) == f) log(f:flush()) log(f:read()) log(f:close())
f = io.popen('true') log(f:seek()) log(f:write('x')) log(f:close())
f = io.popen('exec >&-; kill -TERM $$') log(f:read('a')) log(f:close())
do local c <close> = io.popen('cat') log(c:read()) f = c end log(io.type(f))
log(io.popen('true', 'r'):setvbuf('no'))
