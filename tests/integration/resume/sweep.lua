-- Each thing it does in a guest leaves a line in the guest's own log; at the end each line must be there once.
provium:claim({ memory = "300M", cpus = 1 })
local a = provium:vm("a", "default", { memory = "128M" }):boot()
local function once(what) a:run("echo " .. what .. " >> /log"):assert_ok() end
once("chunk")

test("files, processes and streams", function(t)
  a:write_file("/data", "one\n")
  local p = a:run_async("echo spawned >> /log; cat > /taken; echo bye")
  p:stdin_write("fed ")
  p:stdin_write("twice")
  p:close_stdin()
  t:assert_eq(p:wait().stdout, "bye\n")
  local tail = a:tail_file("/log", { start = "beginning" })
  tail:read_until("spawned\n", 5)
  once("streamed")
  tail:expect("streamed\n", 5)
  t:assert_eq(a:read_file("/data"), "one\n")
  t:assert_eq(a:read_file("/taken"), "fed twice")
end)

test("two tasks meet", function(t)
  local w = a:spawn_worker()
  local job = co.spawn(function()
    w:run("echo worker >> /log"):assert_ok()
    provium:barrier("met", 2)
    once("task")
  end)
  once("body")
  provium:barrier("met", 2)
  job:join()
  w:close()
end)

test("power", function(t)
  a:pause()
  a:resume()
  once("resumed")
  local n = 0
  wait_until(function() n = n + 1; return n == 3 end, { interval = 0.02 })
end)

test("each thing happened once", function(t)
  local seen = {}
  for line in a:read_file("/log"):gmatch("[^\n]+") do
    t:assert_eq(seen[line], nil, line .. " happened twice")
    seen[line] = true
  end
  for _, line in ipairs({ "chunk", "spawned", "streamed", "worker", "task", "body", "resumed" }) do
    t:assert(seen[line], line .. " never happened")
  end
end)
