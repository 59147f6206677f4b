-- Whose a bearer key is, in one statement: it names the secret's hash to the policy that opens
-- the key's row, for itself alone, and reads it. Nothing more can be read by this than before.
CREATE FUNCTION key_owner(hash bytea)
    RETURNS TABLE (tenant_id uuid, id uuid, scopes text[], use_unnoted boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM set_config('poblysh.secret_hash', encode(hash, 'hex'), true);
    RETURN QUERY
        SELECT k.tenant_id, k.id, k.scopes,
            k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
        FROM api_keys k
        WHERE k.key_hash = hash AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > now());
END
$$;
REVOKE ALL ON FUNCTION key_owner(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION key_owner(bytea) TO poblysh_api;
