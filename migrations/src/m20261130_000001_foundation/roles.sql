-- One role per process, and one in which the API reads for operators. They own nothing, and cannot log in until the operator allows it
-- (`ALTER ROLE … LOGIN PASSWORD …`). A process that logs in as another role switches with
-- SET ROLE. Roles belong to the cluster, so they may exist already.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['poblysh_api', 'poblysh_ingress', 'poblysh_worker', 'poblysh_operator'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        IF NOT pg_has_role(current_user, name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', name, current_user);
        END IF;
    END LOOP;
    -- The API switches to the operators' role for one transaction, and inherits nothing from it.
    IF NOT pg_has_role('poblysh_api', 'poblysh_operator', 'MEMBER') THEN
        EXECUTE 'GRANT poblysh_operator TO poblysh_api'
            || CASE WHEN current_setting('server_version_num')::integer >= 160000
                THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
    END IF;
END
$$;
