-- In front of the cache: one key for all callers of a country, and 304 for those who hold the answer already.
function envoy_on_request(call)
  local headers = call:headers()
  local held = headers:get("if-none-match")
  if held then
    call:streamInfo():dynamicMetadata():set("ani.share", "held", held)
    headers:remove("if-none-match")
  end
  -- The cache's own request appends an address to the list, which the inner listener takes back.
  headers:replace("x-ani-forwarded-for", headers:get("x-forwarded-for") or "")
  headers:replace(":authority", "shared." .. (headers:get("x-ani-country") or ""))
end

local function same(held, etag)
  if held == "*" then
    return true
  end
  for one in held:gmatch('"[^"]*"') do
    if one == etag:gsub("^W/", "") then
      return true
    end
  end
  return false
end

function envoy_on_response(answer)
  local headers = answer:headers()
  local vary = headers:get("x-ani-vary")
  if vary then
    headers:replace("vary", vary)
    headers:remove("x-ani-vary")
  end
  local asked = answer:streamInfo():dynamicMetadata():get("ani.share")
  local etag = headers:get("etag")
  if asked and etag and headers:get(":status") == "200" and same(asked["held"], etag) then
    headers:replace(":status", "304")
    headers:remove("content-type")
    -- Before the body is asked for: that waits for it, and what was at hand is not any more.
    headers:remove("content-length")
    local body = answer:body()
    if body then
      body:setBytes("")
    end
  end
end
