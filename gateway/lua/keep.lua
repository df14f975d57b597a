-- Behind the cache: makes ready to be shared what may be, and keeps the rest from it.

-- What the cache's key holds; an answer that depends on anything else must not be kept.
local KEYED = { ["authorization"] = true, ["x-ani-country"] = true, ["x-revision"] = true }
local PERSONAL = { "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id" }
-- The servers drop stale answers at once, and this cache cannot be told: so it keeps none for longer than this.
local LONGEST_SECONDS = 10

local function is_keyed(vary)
  for name in vary:lower():gmatch("[^%s,]+") do
    if not KEYED[name] then
      return false
    end
  end
  return true
end

function envoy_on_response(answer)
  local headers = answer:headers()
  headers:remove("set-cookie")
  local reuse = headers:get("cache-control")
  local seconds = reuse and reuse:match("public.*max%-age=(%d+)")
  if not seconds then
    return
  end
  local vary = headers:get("vary") or ""
  if not is_keyed(vary) then
    headers:replace("cache-control", "no-store")
    return
  end
  headers:replace("cache-control", reuse .. ", s-maxage=" .. math.min(tonumber(seconds), LONGEST_SECONDS))
  -- The cache would store one more file for each varying header.
  headers:replace("x-ani-vary", vary)
  headers:remove("vary")
  for _, name in ipairs(PERSONAL) do
    headers:remove(name)
  end
end
