-- ledger_restore/get_book: whether a tenant has accounts or transactions.
-- why: a book is copied into an empty tenant only: two books cannot become one.
-- params: tenant_id text
-- kind: read | returns: one | scan: tenant
SELECT
    EXISTS (SELECT FROM ledger_accounts AS a WHERE a.tenant_id = :'tenant_id'::text)
    OR EXISTS (SELECT FROM ledger_transactions AS t WHERE t.tenant_id = :'tenant_id'::text)
        AS is_there;
