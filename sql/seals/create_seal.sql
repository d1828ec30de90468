-- seals/create_seal: keep a signed checkpoint of the tree as it is now.
-- why: the next root must be consistent with this one, or nothing is signed (LM4).
-- params: tenant_id text, tree_size bigint, root bytea, sealed_through text, note text
-- kind: write | returns: count | locks: none: only a new row
INSERT INTO ledger_seals (tenant_id, tree_size, root, sealed_through, note)
VALUES (
    :'tenant_id'::text, :'tree_size'::bigint, :'root'::bytea,
    :'sealed_through'::text::timestamptz, :'note'::text
);
