-- The facts that the health of connections follows from, and the stored health. Every subquery
-- reads a few rows of one connection by primary key.
--
-- $1, $2    the connections: tenants and ids
SELECT c.tenant_id, c.id, c.provider, c.status, c.status_reason, c.account_name, c.last_error,
    now() AS now,
    CASE c.status WHEN 'pending' THEN c.pending_until END AS approval_expires_at,
    c.backfilled_at IS NOT NULL AS is_backfilled,
    -- Before the first read has ended, only its start can be late.
    CASE WHEN c.last_sync_at IS NOT NULL THEN
            c.last_sync_at + interval '1 minute'
                + 2 * greatest(c.poll_interval_seconds, c.run_seconds * 1.25) * interval '1 second'
        WHEN c.backfill_started_at IS NULL THEN c.connected_at + interval '10 minutes'
        END AS overdue_at,
    (SELECT g.refresh_expires_at FROM credentials g
      WHERE g.tenant_id = c.tenant_id AND g.connection_id = c.id AND g.holder = 'account')
        AS grant_ends_at,
    -- A subscription that the provider has lost ended no later than it was renewed.
    (SELECT min(CASE WHEN s.external_id IS NULL THEN s.renewed_at ELSE s.expires_at END)
      FROM subscriptions s
      WHERE s.tenant_id = c.tenant_id AND s.connection_id = c.id AND s.desired)
        AS subscription_ends_at,
    -- The end of a window that is used up is the time of the next call.
    coalesce(c.last_error ->> 'code' = 'rate_limited' AND EXISTS (
        SELECT FROM rate_budgets b WHERE b.provider = c.provider
          AND (b.account_id IN (c.account_id, '*')
               OR b.account_id > c.account_id || ' ' AND b.account_id < c.account_id || '!')
          AND b.window_ends_at > now()
          AND b.window_ends_at BETWEEN (c.last_error ->> 'retry_at')::timestamptz - interval '5 seconds'
              AND (c.last_error ->> 'retry_at')::timestamptz + interval '5 seconds'
    ), false) AS is_quota_spent,
    -- The root stream, which lists the others, is in no list.
    coalesce(c.last_error ->> 'code' = 'permission', false) AND EXISTS (
        SELECT FROM cursors s WHERE s.tenant_id = c.tenant_id AND s.connection_id = c.id
        HAVING bool_or(s.listed_at IS NULL AND s.failing_since IS NOT NULL AND s.retired_at IS NULL)
            OR count(*) FILTER (WHERE s.listed_at IS NOT NULL AND s.retired_at IS NULL)
                = count(*) FILTER (WHERE s.listed_at IS NOT NULL AND s.retired_at IS NULL
                                   AND s.failing_since IS NOT NULL)
    ) AS is_all_denied,
    a.last_delivery_at, a.last_signal_at, coalesce(a.longest_gap_seconds, 0) AS longest_gap_seconds,
    coalesce(a.missed_since_delivery, 0) AS missed_since_delivery,
    (SELECT max(w.last_at) FROM unnest('{mismatch,stale,not_configured}'::text[]) AS r(result)
      CROSS JOIN LATERAL (SELECT w.last_at FROM webhook_results w
          WHERE w.provider = c.provider AND w.connection_id = '00000000-0000-0000-0000-000000000000'
            AND w.result = r.result ORDER BY w.hour DESC LIMIT 1) w)
        AS rejected_at,
    (SELECT max(w.last_at) FROM unnest('{mismatch,stale,not_configured}'::text[]) AS r(result)
      CROSS JOIN LATERAL (SELECT w.last_at FROM webhook_results w
          WHERE w.provider = c.provider AND w.connection_id = c.id
            AND w.result = r.result ORDER BY w.hour DESC LIMIT 1) w)
        AS own_rejected_at,
    coalesce((SELECT sum(m.facts) FROM missed_facts m
      WHERE m.tenant_id = c.tenant_id AND m.connection_id = c.id
        AND m.hour > now() - interval '24 hours'), 0)::bigint AS missed_24h,
    (SELECT count(*) FROM subscriptions s
      WHERE s.tenant_id = c.tenant_id AND s.connection_id = c.id AND s.desired
        AND s.external_id IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > now()))
        AS subscriptions,
    c.health_reason, c.health_since, c.reported_health, c.reported_since, c.report_due_at
FROM unnest($1::uuid[], $2::uuid[]) AS k(tenant_id, id)
JOIN connections c ON c.tenant_id = k.tenant_id AND c.id = k.id
LEFT JOIN connection_activity a ON a.tenant_id = c.tenant_id AND a.connection_id = c.id
