-- Loaded by all.test.lua with require.
local helper = {}

-- A table with keys of every kind; its insides depend on hash seeds and addresses.
function helper.jumble(n)
	local t = {}
	for i = 1, n do
		t["key " .. i * 7919 % 1009] = i
		t[i * 31 % 97] = i
		t[i + 0.5] = i
		local object = i % 3 == 0 and {} or i % 3 == 1 and function() return i end or coroutine.create(function() return i end)
		t[object] = i
		if i % 4 == 0 then t["key " .. i] = nil end
	end
	t[print], t[string.format], t[io.stdout], t[true], t[false] = 1, 2, 3, 4, 5
	return t
end

return helper
