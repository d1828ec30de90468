-- replay/count_payments: how many payments there are.
-- why: a level says how much it has looked at.
-- params: tenant_id text
-- kind: read | returns: one | scan: tenant
SELECT count(*) AS payments
FROM payments AS p
WHERE p.tenant_id = :'tenant_id'::text;
