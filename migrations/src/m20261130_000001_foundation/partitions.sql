-- Daily partitions. Only the owner may create and drop them, so workers call these two functions,
-- which accept no other tables. They wait 200 ms for a lock, because writers queue behind them. The
-- next run retries a missed partition; partitions are created two weeks ahead.

CREATE FUNCTION ensure_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    parent text;
    day date;
    part text;
    made integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['deliveries', 'job_history'] LOOP
        FOR day IN SELECT generate_series(
            (now() AT TIME ZONE 'UTC')::date - 1,
            (now() AT TIME ZONE 'UTC')::date + least(days_ahead, 60), '1 day')::date
        LOOP
            part := format('%s_p%s', parent, to_char(day, 'YYYYMMDD'));
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            BEGIN
                EXECUTE format(
                    'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                    part, parent, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', part);
                EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
                made := made + 1;
            EXCEPTION
                -- Another worker was faster, or the default partition has rows of that day.
                WHEN duplicate_table OR check_violation THEN NULL;
                WHEN lock_not_available THEN EXIT;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

CREATE FUNCTION drop_partitions(parent text, keep_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    IF parent NOT IN ('deliveries', 'job_history') OR keep_days < 1 THEN
        RAISE EXCEPTION 'drop_partitions: % with % days is not allowed', parent, keep_days;
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = ('public.' || parent)::regclass
          AND c.relname ~ '_p[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD')
              < (now() AT TIME ZONE 'UTC')::date - keep_days
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE public.%I', part.relname);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
    END LOOP;
    RETURN dropped;
END
$$;

CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
CREATE TABLE job_history_default PARTITION OF job_history DEFAULT;
SELECT ensure_partitions(14);
