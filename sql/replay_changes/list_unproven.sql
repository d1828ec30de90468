-- replay_changes/list_unproven: transactions that the signed tree of so many leaves does not prove.
-- why: entries are made anew only from a header whose leaf leads to a signed root. An id without a
--   header is proven to be none if its entry is older than what that tree covers (LR5).
-- params: tenant_id text, tx_ids uuid[], tree_size bigint
-- kind: read | returns: many | scan: tenant
SELECT n.tx_id AS id
FROM unnest(:'tx_ids'::uuid[]) AS n (tx_id)
WHERE
    NOT EXISTS (
        SELECT FROM ledger_leaves AS s
        WHERE
            s.tenant_id = :'tenant_id'::text AND s.tx_id = n.tx_id
            AND s.idx < :'tree_size'::bigint
    )
    AND (
        EXISTS (
            SELECT FROM ledger_transactions AS t
            WHERE t.tenant_id = :'tenant_id'::text AND t.id = n.tx_id
        )
        OR NOT EXISTS (
            SELECT FROM ledger_seals AS k
            WHERE
                k.tenant_id = :'tenant_id'::text AND k.tree_size = :'tree_size'::bigint
                AND k.sealed_through
                >= (
                    SELECT max(e.posted_at) FROM ledger_entries AS e
                    WHERE e.tenant_id = :'tenant_id'::text AND e.tx_id = n.tx_id
                )
        )
    )
ORDER BY n.tx_id;
