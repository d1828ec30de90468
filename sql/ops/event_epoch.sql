-- ops/event_epoch: how many logical restores this installation has seen, plus one.
-- why: a restore starts transaction ids anew; what was derived from the history before is void.
-- params: none
-- kind: read | returns: 0..1
SELECT s.value::integer AS epoch
FROM settings AS s
WHERE
    s.tenant_id = '-'
    AND s.name = 'event_epoch';
