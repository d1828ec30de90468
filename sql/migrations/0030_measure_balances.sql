-- What limits bound, written once for every statement that asks (LA5).

-- What may be spent: the floor bounds it. What is reserved counts at its worst.
CREATE FUNCTION ledger_available(b ledger_balances) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        b.normal_side * (b.credits_posted - b.debits_posted)
        - CASE b.normal_side WHEN 1 THEN b.debits_pending ELSE b.credits_pending END
$$;

-- What it may come to: the ceiling bounds it.
CREATE FUNCTION ledger_reachable(b ledger_balances) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        b.normal_side * (b.credits_posted - b.debits_posted)
        + CASE b.normal_side WHEN 1 THEN b.credits_pending ELSE b.debits_pending END
$$;
