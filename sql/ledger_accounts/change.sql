-- ledger_accounts/change: set what may be set of an account that is still as it was read.
-- why: status and limits hold for postings at once, so they change under the balances' locks, and
--   leave a transaction without legs: history and seals cover them (LA8). No row: the account has
--   another version, or its balance does not allow it. More stripes are new rows (LS5).
-- params: tenant_id text, code text, currency text, version bigint, name text?, status text, floor text?, ceiling text?, stripes smallint, owner_user_id text?, metadata text, transaction_id uuid, is_logged boolean, logged text, logged_hash bytea, actor text, request_id text
-- kind: write | returns: 0..1 | locks: ledger_accounts row, ledger_balances by stripe
WITH account AS (
    SELECT a.account_id, a.currency, a.normal_side, a.stripes
    FROM ledger_accounts AS a
    WHERE
        a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
        AND a.currency = :'currency'::text::char(3) AND a.version = :'version'::bigint
        AND (
            :'owner_user_id'::text IS NULL
            OR a.owner_user_id = :'owner_user_id'::text::uuid
            OR EXISTS (
                SELECT FROM users AS u
                WHERE
                    u.tenant_id = :'tenant_id'::text AND u.id = :'owner_user_id'::text::uuid
                    AND u.status = 'active'
            )
        )
    FOR NO KEY UPDATE OF a
),
locked AS (
    SELECT
        b.account_id, b.stripe, b.last_posted_at, b.floor, b.ceiling,
        ledger_available(b) AS available, ledger_reachable(b) AS reachable,
        b.debits_posted = b.credits_posted AND b.debits_pending + b.credits_pending = 0 AS is_empty,
        CASE WHEN b.stripe = 0 OR :'floor'::text IS NULL THEN :'floor'::text::bigint ELSE 0 END
            AS new_floor
    FROM ledger_balances AS b
    WHERE
        b.tenant_id = :'tenant_id'::text
        AND b.account_id = (SELECT a.account_id FROM account AS a)
    ORDER BY b.account_id, b.stripe
    FOR NO KEY UPDATE
),
-- Each stripe keeps its own floor. What was below before by force may stay there. The clock is
-- read after the locks (LP4).
book AS (
    SELECT
        greatest(clock_timestamp(), max(k.last_posted_at) + interval '1 microsecond') AS posted_at
    FROM locked AS k
    HAVING
        count(*) > 0
        AND bool_and(
            (k.is_empty OR :'status'::text <> 'closed')
            AND (
                coalesce(k.available >= k.new_floor, true) OR coalesce(k.new_floor <= k.floor, false)
            )
        )
        AND (
            coalesce(sum(k.reachable) <= :'ceiling'::text::bigint, true)
            OR coalesce(max(k.ceiling) <= :'ceiling'::text::bigint, false)
        )
),
header AS (
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, posted_at, effective_at, debit_accounts, credit_accounts,
        amounts, metadata, metadata_hash, actor, request_id
    )
    SELECT
        :'tenant_id'::text, :'transaction_id'::uuid, 'change', 'applied', b.posted_at, b.posted_at,
        '{}', '{}', '{}', :'logged'::text::jsonb, :'logged_hash'::bytea, :'actor'::text,
        :'request_id'::text
    FROM book AS b
    WHERE :'is_logged'::boolean
),
limited AS (
    UPDATE ledger_balances AS b
    SET
        status = :'status'::text::ledger_account_status, floor = k.new_floor,
        ceiling = :'ceiling'::text::bigint
    FROM book AS o CROSS JOIN locked AS k
    WHERE
        :'is_logged'::boolean AND b.tenant_id = :'tenant_id'::text AND b.account_id = k.account_id
        AND b.stripe = k.stripe
),
grown AS (
    INSERT INTO ledger_balances (
        tenant_id, account_id, stripe, currency, normal_side, status, floor
    )
    SELECT
        :'tenant_id'::text, a.account_id, s.stripe, a.currency, a.normal_side,
        :'status'::text::ledger_account_status,
        CASE WHEN :'floor'::text IS NOT NULL THEN 0 END
    FROM book AS o
    CROSS JOIN account AS a
    CROSS JOIN LATERAL generate_series(a.stripes, :'stripes'::smallint - 1) AS s (stripe)
),
changed AS (
    UPDATE ledger_accounts AS a
    SET
        name = :'name'::text, stripes = :'stripes'::smallint,
        owner_user_id = :'owner_user_id'::text::uuid, metadata = :'metadata'::text::jsonb,
        version = a.version + 1, updated_at = greatest(a.updated_at, now())
    FROM book AS o CROSS JOIN account AS t
    WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = t.account_id
    RETURNING a.version
)
SELECT c.version FROM changed AS c;
