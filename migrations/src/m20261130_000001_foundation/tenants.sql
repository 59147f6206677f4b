-- Tenants, API keys, stored responses and the audit log. tenant_id leads the primary key of every
-- table with tenant data; policies.sql and privileges.sql control access.

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id           uuid NOT NULL,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    key_hash     bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    hint         text NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX api_keys_key_hash ON api_keys (key_hash);

-- Returns the owner of an API key in one statement: sets the hash for the policy `by_secret` and
-- reads the row that it makes visible. The caller can read nothing else with it.
CREATE FUNCTION key_owner(hash bytea)
    RETURNS TABLE (tenant_id uuid, id uuid, scopes text[], needs_touch boolean)
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

-- Responses to requests with an Idempotency-Key, kept for a day; of a response that showed a secret
-- only the object's id. Operators' requests without a tenant are under the nil tenant.
CREATE TABLE idempotency_keys (
    tenant_id    uuid NOT NULL,
    is_operator  boolean NOT NULL,
    key          text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    status       smallint,
    response     json,
    object_id    uuid,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, is_operator, key),
    CHECK ((response IS NULL) = (status IS NULL)),
    CHECK ((response IS NULL) = (object_id IS NOT NULL))
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE TABLE audit_log (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text,
    detail     json NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id)
);
