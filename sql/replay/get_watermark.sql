-- replay/get_watermark: the moment up to which the book can no longer grow, and its tree.
-- why: tells what a run may call final (LT5), and how many leaves there should be (L4).
-- params: tenant_id text
-- kind: read | returns: 0..1
SELECT nullif(s.sealed_through, '-infinity') AS sealed_through, s.tree_size
FROM ledger_seal_state AS s
WHERE s.tenant_id = :'tenant_id'::text;
