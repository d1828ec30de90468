-- replay_changes/list_wrong_holds: holds whose row may differ from what their transactions say.
-- why: `--rebuild` looks at all of them; which do differ is decided again under their locks.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT coalesce(o.hold_id, h.hold_id) AS id
FROM (
    SELECT t.hold_id, t.amounts[1] - coalesce(r.released, 0) AS remaining
    FROM ledger_transactions AS t
    LEFT JOIN (
        SELECT
            x.hold_id, sum(coalesce(x.released, x.amounts[1])) AS released,
            bool_or(x.final) AS is_over
        FROM ledger_transactions AS x
        WHERE
            x.tenant_id = :'tenant_id'::text AND x.status = 'applied'
            AND x.kind IN ('capture', 'void', 'expire')
        GROUP BY x.hold_id
    ) AS r ON t.hold_id = r.hold_id
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.status = 'applied' AND t.kind = 'hold'
        AND r.is_over IS NOT TRUE
) AS o
FULL JOIN (
    SELECT k.hold_id, k.remaining FROM ledger_holds AS k WHERE k.tenant_id = :'tenant_id'::text
) AS h ON o.hold_id = h.hold_id
WHERE o.remaining IS DISTINCT FROM h.remaining
ORDER BY id;
