-- currencies/list_all: every currency, and how many digits its minor unit has.
-- why: read once a minute and kept: a join in every answer would cost more than it tells.
-- params: none
-- kind: read | returns: many | scan: all
SELECT c.code, c.numeric_code, c.name, c.exponent, c.published_on, c.withdrawn_on
FROM currencies AS c
ORDER BY c.code;
