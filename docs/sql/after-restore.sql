-- What a restored dump does not know: that caches have seen newer revisions, and callers newer version numbers. To be
-- run after pg_restore, in the same transaction where nodes are running; docs/operations.md has the commands.

-- pg_restore leaves none.
reset search_path;

-- Revisions from the clock are above all that any cache holds. The numbers given after the dump are lost with it: the gap
-- has to be wider than what one adapter can have been saved since, so that none of them is given twice.
update lora_adapter_heads
set last_version = last_version + 1000,
    revision = greatest(revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint);

-- Adapters that began after the dump have no head any more that could tell of them: verify everything.
notify lora_store_heads, '*';
