-- Stores the quota that a response stated: its size, the used units, the end of its window.
--
-- $1, $2  the budget's row: provider, account
-- $3      units in the whole window, null if they are not stated
-- $4      units left in it, null if they are not stated
-- $5      the window's end, null if it is not stated
--
-- The units that polls have used start again at 0 when another end of the window is stated.
--
-- Served by the primary key of rate_budgets (provider, account_id).
INSERT INTO rate_budgets AS own
    (provider, account_id, tat, window_limit, window_used, window_ends_at)
VALUES ($1, $2, clock_timestamp(), $3::bigint, greatest(coalesce($3::bigint - $4::bigint, 0), 0),
        $5::timestamptz)
ON CONFLICT (provider, account_id) DO UPDATE
   SET window_limit = coalesce(excluded.window_limit, own.window_limit),
       window_used = CASE WHEN $3::bigint IS NULL OR $4::bigint IS NULL THEN own.window_used
                          ELSE excluded.window_used END,
       window_polled = CASE
           WHEN abs(extract(epoch FROM excluded.window_ends_at - own.window_ends_at)) > 60 THEN 0
           ELSE own.window_polled END,
       window_ends_at = coalesce(excluded.window_ends_at, own.window_ends_at)
