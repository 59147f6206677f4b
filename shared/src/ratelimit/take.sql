-- Takes one unit from a budget, or returns the reasons to wait.
--
-- It applies the generic cell rate algorithm (GCRA) twice. `tat`, the theoretical arrival time,
-- is the time by which the used units would have arrived at the highest rate; `paced_tat` is
-- that time for calls that can wait, at the pace of the quota (see the function quota_pace). A unit
-- is granted if both are ahead of now by at most the tolerance plus the longest wait. A grant
-- advances both by one pace, and the caller waits for the part beyond the tolerance. So each caller
-- needs one query, and simultaneous callers get consecutive times. Immediate calls obey the highest
-- rate only.
--
-- All times are those of Postgres, because the clocks of two workers differ; the row's lock orders
-- simultaneous callers. A call that is not granted changes nothing.
--
-- $1, $2    the budget's row: provider, account
-- $3, $4    the row that counts the quota: this one or another
-- $5        the account of the row that blocks the whole provider
-- $6        the pace of the highest rate, in seconds per unit
-- $7        the tolerance, in seconds: the burst after a pause
-- $8        the longest wait, in seconds
-- $9        how many tenants share both paces
-- $10       the priority: 0 immediate, 1 poll, 2 backfill
-- $11, $12  the quota: units, null for none; the window's length in seconds
-- $13, $14  the fractions of it that are the reserve, and that polls may use
-- $15       units that count against the quota now: one, or none if the response decides it
--
-- Served by the primary key of rate_budgets (provider, account_id).
WITH request AS MATERIALIZED (
    SELECT clock_timestamp() AS now, make_interval(secs => $9::float8 * $6::float8) AS fastest
), quota AS MATERIALIZED (
    SELECT CASE WHEN $11::bigint IS NOT NULL THEN coalesce(w.window_limit, $11::bigint) END AS units,
           CASE WHEN is_open THEN w.window_used ELSE 0 END AS used,
           CASE WHEN is_open THEN w.window_polled ELSE 0 END AS polled,
           CASE WHEN is_open THEN extract(epoch FROM w.window_ends_at - a.now)::float8
                ELSE $12::float8 END AS seconds_left
      FROM request a
      LEFT JOIN rate_budgets w ON w.provider = $3 AND w.account_id = $4
     CROSS JOIN LATERAL (SELECT coalesce(w.window_ends_at > a.now, false) AS is_open) AS state
), pace AS MATERIALIZED (
    SELECT make_interval(secs => $9::float8 * nullif(per_unit, 'Infinity')) AS paced,
           CASE per_unit WHEN 'Infinity' THEN seconds_left END AS exhausted_for
      FROM quota
     CROSS JOIN LATERAL (SELECT quota_pace($6, units, used, polled, seconds_left, $10::integer,
                                           $13, $14) AS per_unit) AS computed
), taken AS (
    INSERT INTO rate_budgets AS own
        (provider, account_id, tat, paced_tat, window_used, window_polled, window_ends_at)
    SELECT $1, $2, a.now + a.fastest,
           CASE $10::integer WHEN 0 THEN a.now ELSE a.now + $15::integer * p.paced END,
           $15::integer, CASE $10::integer WHEN 1 THEN $15::integer ELSE 0 END,
           a.now + make_interval(secs => $12::float8)
      FROM request a, pace p
     WHERE p.exhausted_for IS NULL
       AND NOT EXISTS (
           SELECT FROM rate_budgets
            WHERE provider = $1 AND account_id = $5 AND blocked_until > a.now)
    ON CONFLICT (provider, account_id) DO UPDATE
       SET tat = greatest(own.tat, clock_timestamp()) + (SELECT fastest FROM request),
           paced_tat = CASE $10::integer WHEN 0 THEN own.paced_tat
               ELSE greatest(own.paced_tat, clock_timestamp())
                   + $15::integer * (SELECT paced FROM pace) END,
           window_used = excluded.window_used
               + CASE WHEN own.window_ends_at > clock_timestamp() THEN own.window_used ELSE 0 END,
           window_polled = excluded.window_polled
               + CASE WHEN own.window_ends_at > clock_timestamp() THEN own.window_polled ELSE 0 END,
           window_ends_at = CASE WHEN own.window_ends_at > clock_timestamp()
               THEN own.window_ends_at ELSE excluded.window_ends_at END
     WHERE CASE $10::integer WHEN 0 THEN own.tat ELSE greatest(own.tat, own.paced_tat) END
               <= clock_timestamp() + make_interval(secs => $7::float8 + $8::float8)
       AND (own.blocked_until IS NULL OR own.blocked_until <= clock_timestamp())
    RETURNING tat, paced_tat
)
SELECT (SELECT extract(epoch FROM greatest(
                   t.tat - a.fastest,
                   CASE $10::integer WHEN 0 THEN NULL
                       ELSE t.paced_tat - $15::integer * p.paced END
               ) - clock_timestamp())::float8 FROM taken t) - $7::float8 AS granted_after,
       p.exhausted_for,
       extract(epoch FROM CASE $10::integer WHEN 0 THEN own.tat
                          ELSE greatest(own.tat, own.paced_tat) END - a.now)::float8
           - $7::float8 AS pace_wait,
       extract(epoch FROM own.blocked_until - a.now)::float8 AS account_wait,
       extract(epoch FROM provider_row.blocked_until - a.now)::float8 AS provider_wait
  FROM request a
 CROSS JOIN pace p
  LEFT JOIN rate_budgets own ON own.provider = $1 AND own.account_id = $2
  LEFT JOIN rate_budgets provider_row
    ON provider_row.provider = $1 AND provider_row.account_id = $5
