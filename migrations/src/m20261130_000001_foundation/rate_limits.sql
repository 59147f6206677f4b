-- The rate limit and quota of an account at its provider, shared by all workers.

CREATE TABLE rate_budgets (
    provider           text NOT NULL,
    account_id         text NOT NULL,
    -- Theoretical arrival times (GCRA): of all units at the highest rate, and of the units of calls
    -- that can wait at the pace of the quota.
    tat                timestamptz NOT NULL,
    paced_tat          timestamptz NOT NULL DEFAULT now(),
    blocked_until      timestamptz,
    -- When a tenant last requested its share of a budget that all tenants use.
    share_requested_at timestamptz,
    -- The window of the provider's quota: its limit, if the provider reports another than the
    -- configured one; the units used, those of them used by scheduled polls; and its end.
    window_limit       bigint,
    window_used        bigint NOT NULL DEFAULT 0,
    window_polled      bigint NOT NULL DEFAULT 0,
    window_ends_at     timestamptz,
    PRIMARY KEY (provider, account_id)
) WITH (fillfactor = 50);

-- Seconds per unit of a quota, so that it lasts until the end of its window: the fastest pace until
-- half of it is used, for polls until a quarter of their share is used; after that the rest of the
-- window divided by the rest of the quota. `priority` is 0 for calls that cannot wait, which are
-- not slowed down, 1 for polls and 2 for backfills, which both exclude the reserve. Infinity when
-- nothing is left. Without a quota (`units` is null) the pace is the fastest one.
--
-- One expression, because Postgres inlines nothing else: a subquery here would be planned again at
-- each call, which costs more than the whole statement.
CREATE FUNCTION quota_pace(
    fastest float8, units float8, used float8, polled float8, seconds_left float8,
    priority integer, reserve float8, poll_share float8
) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN units * (1 - CASE priority WHEN 0 THEN 0 ELSE reserve END) - used < 1
            OR (priority = 1 AND units * poll_share - polled < 1) THEN 'Infinity'::float8
        ELSE greatest(
            fastest,
            CASE WHEN priority <> 0 AND used * 2 >= units
                THEN seconds_left / (units * (1 - reserve) - used) END,
            CASE WHEN priority = 1 AND (units * poll_share - polled) * 4 <= units * poll_share * 3
                THEN seconds_left / (units * poll_share - polled) END)
    END
$$;
