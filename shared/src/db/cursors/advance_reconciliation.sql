-- Advances the reconciliation pass of a stream by one page.
--
-- Served by the primary key of `cursors`.
UPDATE cursors SET updated_at = now(), page_halvings = $8, good_pages = $9,
    reconcile_cursor = $4,
    reconcile_upper_bound = CASE WHEN $4::json IS NULL THEN NULL ELSE $5 END,
    reconciled_through = greatest(reconciled_through, $6),
    reconcile_at = CASE WHEN $7 > 0 THEN now() + $7 * interval '1 second'
        ELSE reconcile_at END
WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3
