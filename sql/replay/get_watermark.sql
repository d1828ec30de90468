-- replay/get_watermark: the moment up to which the book can no longer grow; no row if none is known.
-- why: tells what a run may call final (LT5).
-- params: tenant_id text
-- kind: read | returns: 0..1
SELECT s.sealed_through
FROM ledger_seal_state AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.sealed_through > '-infinity';
