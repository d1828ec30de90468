-- postings/post_plain: post a batch in one go, if all of it can be posted.
-- why: who must judge nothing writes sets of rows, half the work of ledger_post (ADR 0018). Arrays
--   come as text: of 8,000 items psycopg makes that many times sooner. Migration 0040 says what
--   they hold. NULL: something stands against it, and nothing has happened.
-- params: tenant_id text, actor text, request_id text, stripe integer, codes text[], currencies text[], ids text, kinds text, hashes bytea, refs text[], metadata text[], metadata_hashes bytea[], first_legs text, last_legs text, items text, debits text, credits text, amounts text
-- kind: write | returns: one | locks: ledger_balances by (account_id, stripe), then ids in
--   ascending order
SELECT r.posted_at
FROM ledger_post_plain(
    :'tenant_id'::text, :'actor'::text, :'request_id'::text, :'stripe'::integer, :'codes'::text[],
    :'currencies'::text[], :'ids'::text::uuid[], :'kinds'::text::ledger_kind[], :'hashes'::bytea,
    :'refs'::text[], :'metadata'::text[]::jsonb[], :'metadata_hashes'::bytea[],
    :'first_legs'::text::integer[], :'last_legs'::text::integer[], :'items'::text::integer[],
    :'debits'::text::integer[], :'credits'::text::integer[], :'amounts'::text::bigint[]
) AS r (posted_at);
