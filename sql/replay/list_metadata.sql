-- replay/list_metadata: what transactions carry beside their legs, to compare with its hash (L1).
-- why: the hash is of canonical JSON (RFC 8785), which the database cannot make. A redacted
--   transaction has its hash alone, and is right.
-- params: tenant_id text, as_of text, since text
-- kind: read | returns: many | scan: tenant
SELECT t.id, t.metadata, t.metadata_hash
FROM ledger_transactions AS t
WHERE
    t.tenant_id = :'tenant_id'::text AND t.metadata IS NOT NULL
    AND t.posted_at > :'since'::text::timestamptz
    AND t.posted_at <= :'as_of'::text::timestamptz;
