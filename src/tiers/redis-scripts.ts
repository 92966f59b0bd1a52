/**
 * The fence in Redis: each script compares the first 48 bytes of what is held (a header, a fill token, nothing) and
 * changes the key only where that is right, in one atomic step. A key of a wrong type reads as garbage and may be replaced;
 * what may not be read at all (an ACL without GETRANGE) is nobody's to replace.
 */

const HELD = `
local held = redis.pcall('GETRANGE', KEYS[1], 0, 47)
if type(held) ~= 'string' then
  if not string.find(held.err, 'WRONGTYPE', 1, true) then return held end
  held = '?'
end
local function revision()
  local magic = string.sub(held, 1, 4)
  if #held == 48 and (magic == 'LRS1' or magic == 'LRH1') then return (struct.unpack('<d', string.sub(held, 9, 16))) end
  return -1
end
`;

/** A load found `value` in Postgres: write it where what was seen before that read still stands. */
export const FILL = `${HELD}
-- ARGV: seen, value, ttl in ms
if held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** A load verified the entry it saw: only the header changes, the lifetime goes on. */
export const RESTAMP = `${HELD}
-- ARGV: seen, header
if held ~= ARGV[1] then return 0 end
redis.call('SETRANGE', KEYS[1], 0, ARGV[2])
return 1`;

/** A save was committed: write it over everything that is not newer. */
export const WRITE = `${HELD}
-- ARGV: revision, value, ttl in ms
if revision() > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** The adapter is at this revision: remove what is older, and the token of whoever read before. */
export const CLEAR = `${HELD}
-- ARGV: revision
if held == '' or revision() >= tonumber(ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])`;

/** Bytes were refused: remove exactly those. */
export const DROP = `${HELD}
-- ARGV: seen
if held ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;
