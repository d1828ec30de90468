-- seals/redact_metadata: empty a transaction's metadata; its hash stays, so proofs hold (LM9).
-- why: the one exception to "never changed": what a law wants forgotten is not needed to prove what
--   was posted. The application's role cannot do it. `was_there`: there was something to empty.
-- params: tenant_id text, tx_id uuid, audit_id uuid, subject text, reason text
-- kind: write | returns: 0..1 | role: owner | locks: the ledger_transactions row
WITH target AS (
    SELECT t.id, t.metadata IS NOT NULL AS was_there
    FROM ledger_transactions AS t
    WHERE t.tenant_id = :'tenant_id'::text AND t.id = :'tx_id'::uuid
    FOR NO KEY UPDATE
),
emptied AS (
    UPDATE ledger_transactions AS t
    SET metadata = NULL
    FROM target AS g
    WHERE t.tenant_id = :'tenant_id'::text AND t.id = g.id AND g.was_there
    RETURNING t.id
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'ledger.redacted',
        :'reason'::text, jsonb_build_object('tx_id', e.id)
    FROM emptied AS e
)
SELECT g.was_there
FROM target AS g;
