-- seals/count_unsealed: how many transactions lie after the watermark, up to a number.
-- why: what a run would have to do, and how far behind it is.
-- params: tenant_id text, row_limit bigint
-- kind: read | returns: one
SELECT count(*) AS transactions
FROM (
    SELECT t.id
    FROM ledger_transactions AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND t.posted_at > coalesce(
            (
                SELECT s.sealed_through
                FROM ledger_seal_state AS s
                WHERE s.tenant_id = :'tenant_id'::text
            ),
            '-infinity'
        )
    LIMIT :'row_limit'::bigint
) AS n;
