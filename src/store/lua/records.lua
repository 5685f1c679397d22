-- Put before the scripts that edit records: JSON in which empty arrays stay arrays.
-- cjson writes an empty array as {}. This number prints the same as it is read, so it stands in for one; replacing costs
-- more than the rest, so it is done only where there is something to replace.
local EMPTY = '[-1e+308]'
local function decode(text)
  return cjson.decode(string.find(text, '[]', 1, true) and string.gsub(text, '%[%]', EMPTY) or text)
end
local function encode(doc)
  local text = cjson.encode(doc)
  return string.find(text, EMPTY, 1, true) and string.gsub(text, '%[%-1e%+308%]', '[]') or text
end
