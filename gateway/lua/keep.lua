-- Behind the cache: keeps from being shared whatever depends on more than the cache's key holds.
local KEYED = { ["authorization"] = true, ["x-ani-country"] = true, ["x-revision"] = true }

function envoy_on_response(answer)
  local headers = answer:headers()
  local vary = headers:get("vary")
  if vary == nil then
    return
  end
  for name in vary:lower():gmatch("[^%s,]+") do
    if not KEYED[name] then
      headers:replace("cache-control", "no-store")
    end
  end
  -- The cache would store one more file for each varying header; the key holds them already.
  headers:replace("x-ani-vary", vary)
  headers:remove("vary")
end
