-- Turns a unary answer's trailing metadata into HTTP headers: over JSON, callers see no trailers.
function envoy_on_response(answer)
  if answer:body() == nil then
    return
  end
  local trailers = answer:trailers()
  if trailers == nil then
    return
  end
  local headers = answer:headers()
  for name, value in pairs(trailers) do
    if name:sub(1, 5) ~= "grpc-" then
      headers:replace(name, value)
    end
  end
end
