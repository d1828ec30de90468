-- ledger/get_closing: through which day the book is closed, and who said so.
-- why: what accountants have reported stays as it was: nothing may be dated into it any more.
-- params: tenant_id text
-- kind: read | returns: 0..1
SELECT s.closed_through, s.updated_at, s.updated_by
FROM ledger_settings AS s
WHERE s.tenant_id = :'tenant_id'::text;
