-- jobs/set_paused: let no worker begin the job, or let them again.
-- why: by hand it can still be run; a run under way ends as it would have.
-- params: job text, paused boolean
-- kind: write | returns: count | locks: the job's row
UPDATE jobs AS j
SET paused = :'paused'::boolean
WHERE
    j.tenant_id = '-'
    AND j.job = :'job'::text;
