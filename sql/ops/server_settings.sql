-- ops/server_settings: settings of the server as this session has them, numbers in their base unit.
-- why: `flask check-config --db` compares what was asked for with what is in force.
-- params: names text[]
-- kind: read | returns: many
SELECT
    s.name,
    s.setting
FROM pg_settings AS s
WHERE s.name = any(:'names'::text[])
ORDER BY s.name;
