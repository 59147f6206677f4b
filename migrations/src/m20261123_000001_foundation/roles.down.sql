-- A role that another database of the cluster still uses stays.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['poblysh_api', 'poblysh_ingress', 'poblysh_worker'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('DROP OWNED BY %I', name);
            BEGIN
                EXECUTE format('DROP ROLE %I', name);
            EXCEPTION WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;
