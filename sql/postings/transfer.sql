-- postings/transfer: post one leg, the commonest posting; entries, balances and key commit together.
-- why: a fixed shape is one statement of steps, half the work of ledger_post (ADR 0018). It does
--   only what can be done: where anything stands against it there is no row, nothing has happened,
--   and ledger_post says what and stores it.
-- params: tenant_id text, id uuid, kind text, debit text, credit text, currency text, amount_minor bigint, stripe integer, reference text?, metadata text?, metadata_hash bytea?, request_hash bytea, actor text, request_id text, scope text, key text?, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, answer text
-- kind: write | returns: 0..1 | locks: ledger_balances by (account_id, stripe), then the key, the id
-- claims: key
WITH locked AS (
    SELECT
        a.code, a.stripes, CASE a.code WHEN :'debit'::text THEN -1 ELSE 1 END AS side, b.account_id,
        b.stripe, b.normal_side, b.status, b.floor, b.ceiling, b.debits_posted, b.credits_posted,
        b.debits_pending, b.credits_pending, b.version, b.last_posted_at
    FROM ledger_accounts AS a
    INNER JOIN ledger_balances AS b
        ON
            b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
            AND b.stripe = :'stripe'::integer % a.stripes
    WHERE
        a.tenant_id = :'tenant_id'::text
        AND a.code = any(ARRAY[:'debit'::text, :'credit'::text])
        AND a.currency = :'currency'::text::char(3)
    ORDER BY b.account_id, b.stripe
    FOR NO KEY UPDATE OF b
),
-- A row if all is well, none if not. The clock is read after the locks (LP4).
book AS (
    SELECT
        greatest(clock_timestamp(), max(k.last_posted_at) + interval '1 microsecond') AS posted_at,
        array_agg(k.account_id) FILTER (WHERE k.side = -1) AS debit_accounts,
        array_agg(k.account_id) FILTER (WHERE k.side = 1) AS credit_accounts,
        CASE
            WHEN max(k.stripe) > 0 THEN ARRAY[[
                max(k.stripe) FILTER (WHERE k.side = -1), max(k.stripe) FILTER (WHERE k.side = 1)
            ]]
        END AS stripes,
        jsonb_agg(jsonb_build_object(
            'account', k.code, 'currency', :'currency'::text, 'posted_minor',
            k.normal_side * (k.credits_posted - k.debits_posted + k.side * :'amount_minor'::bigint),
            'version', k.version + 1
        ) ORDER BY k.side) FILTER (WHERE k.stripes = 1) AS balances
    FROM locked AS k
    HAVING
        count(*) = 2
        AND bool_and(
            k.status = 'open'
            AND greatest(k.debits_posted, k.credits_posted) + :'amount_minor'::bigint
            <= 4611686018427387904
            AND CASE
                WHEN k.normal_side = k.side
                    THEN coalesce(
                        k.side * (k.credits_posted - k.debits_posted) + :'amount_minor'::bigint
                        + CASE k.side WHEN 1 THEN k.credits_pending ELSE k.debits_pending END
                        <= k.ceiling, true
                    )
                ELSE coalesce(
                    k.side * (k.debits_posted - k.credits_posted) - :'amount_minor'::bigint
                    - CASE k.side WHEN 1 THEN k.credits_pending ELSE k.debits_pending END
                    >= k.floor, true
                )
            END
        )
),
decided AS (
    SELECT
        b.posted_at, b.debit_accounts, b.credit_accounts, b.stripes,
        jsonb_build_object(
            'posted_at', b.posted_at, 'effective_at', b.posted_at,
            'balances', coalesce(b.balances, '[]')
        ) AS facts
    FROM book AS b
),
claimed AS (
    INSERT INTO idempotency_keys AS k (
        tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, status, answer,
        resource_type, resource_id, request_id, created_at, expires_at
    )
    SELECT
        :'tenant_id'::text, :'scope'::text, :'key'::text, :'operation'::text,
        :'fingerprint'::bytea, :'fingerprint_version'::smallint, 'completed', 201,
        :'answer'::text::jsonb || d.facts, 'ledger_transaction', :'id'::uuid,
        :'request_id'::text, now(), now() + make_interval(secs => :'ttl_s'::bigint)
    FROM decided AS d
    WHERE :'key'::text IS NOT NULL
    ON CONFLICT (tenant_id, scope, key) DO UPDATE
    SET
        operation = excluded.operation, fingerprint = excluded.fingerprint,
        fingerprint_version = excluded.fingerprint_version, kind = excluded.kind,
        status = excluded.status, answer = excluded.answer,
        resource_type = excluded.resource_type, resource_id = excluded.resource_id,
        request_id = excluded.request_id, created_at = excluded.created_at,
        expires_at = excluded.expires_at
    WHERE k.expires_at <= excluded.created_at
    RETURNING k.expires_at
),
-- Without a key the id decides: one that is there gives no row.
header AS (
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, reference, posted_at, effective_at, debit_accounts,
        credit_accounts, amounts, stripes, request_hash, metadata, metadata_hash, actor, request_id
    )
    SELECT
        :'tenant_id'::text, :'id'::uuid, :'kind'::text::ledger_kind, 'applied', :'reference'::text,
        d.posted_at, d.posted_at, d.debit_accounts, d.credit_accounts,
        ARRAY[:'amount_minor'::bigint], d.stripes, :'request_hash'::bytea,
        :'metadata'::text::jsonb, :'metadata_hash'::bytea, :'actor'::text, :'request_id'::text
    FROM decided AS d
    WHERE :'key'::text IS NULL OR EXISTS (SELECT FROM claimed)
    ON CONFLICT (tenant_id, id) DO NOTHING
    RETURNING posted_at
),
moved AS (
    UPDATE ledger_balances AS b
    SET
        debits_posted = k.debits_posted
        + CASE k.side WHEN -1 THEN :'amount_minor'::bigint ELSE 0 END,
        credits_posted = k.credits_posted
        + CASE k.side WHEN 1 THEN :'amount_minor'::bigint ELSE 0 END,
        version = k.version + 1, last_posted_at = h.posted_at
    FROM header AS h CROSS JOIN locked AS k
    WHERE
        b.tenant_id = :'tenant_id'::text AND b.account_id = k.account_id AND b.stripe = k.stripe
),
entered AS (
    INSERT INTO ledger_entries (
        tenant_id, account_id, stripe, posted_at, version, tx_id, leg, side, posted, effective_at,
        balance_after
    )
    SELECT
        :'tenant_id'::text, k.account_id, k.stripe, h.posted_at, k.version + 1, :'id'::uuid, 1,
        k.side, :'amount_minor'::bigint, h.posted_at,
        k.normal_side * (k.credits_posted - k.debits_posted + k.side * :'amount_minor'::bigint)
    FROM header AS h CROSS JOIN locked AS k
)
SELECT d.facts, c.expires_at
FROM decided AS d
LEFT JOIN claimed AS c ON true
WHERE EXISTS (SELECT FROM header);
