-- Charges the units that a call has cost. The budget may go into debt, which later calls wait for
-- at the pace that the quota allows.
--
-- $1 to $4  as in take.sql: the budget's row, and the row that counts the quota
-- $5        the pace of the highest rate, in seconds per unit
-- $6        how many tenants share the pace
-- $7        the priority
-- $8 to $10 the quota's units, its reserve, the fraction for polls
-- $11       units
-- $12       whether they also count against the highest rate
--
-- Served by the primary key of rate_budgets (provider, account_id).
WITH pace AS (
    SELECT $6::float8 * CASE per_unit WHEN 'Infinity' THEN $5::float8 ELSE per_unit END AS per_unit
      FROM (SELECT) AS one_row
      LEFT JOIN rate_budgets w ON w.provider = $3 AND w.account_id = $4
     CROSS JOIN LATERAL (SELECT quota_pace($5,
               CASE WHEN $8::bigint IS NULL THEN NULL ELSE coalesce(w.window_limit, $8::bigint) END,
               w.window_used, w.window_polled,
               greatest(extract(epoch FROM w.window_ends_at - clock_timestamp())::float8, 0),
               $7::integer, $9, $10) AS per_unit) AS computed
)
UPDATE rate_budgets
   SET tat = CASE WHEN $12::boolean THEN greatest(tat, clock_timestamp())
           + make_interval(secs => $11::bigint * $6::float8 * $5::float8) ELSE tat END,
       paced_tat = CASE $7::integer WHEN 0 THEN paced_tat
           ELSE greatest(paced_tat, clock_timestamp())
               + make_interval(secs => $11::bigint * (SELECT per_unit FROM pace)) END,
       window_used = window_used + $11::bigint,
       window_polled = window_polled + CASE $7::integer WHEN 1 THEN $11::bigint ELSE 0 END
 WHERE provider = $1 AND account_id = $2
