-- Secrets, sealed with AES-256-GCM and bound to tenant, connection and field.

-- Account tokens of connections. `version` counts the tokens; the refresh_* columns are the lease
-- of the process that refreshes them, and the time of an attempt whose response may have been lost.
CREATE TABLE credentials (
    tenant_id            uuid NOT NULL,
    connection_id        uuid NOT NULL,
    version              bigint NOT NULL DEFAULT 1,
    access_token         bytea,
    refresh_token        bytea,
    expires_at           timestamptz,
    refresh_expires_at   timestamptz,
    refresh_lease        uuid,
    refresh_lease_until  timestamptz,
    refresh_attempted_at timestamptz,
    updated_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

-- User tokens: tokens of the person who connected an account, at providers that issue them in
-- addition to account tokens.
CREATE TABLE user_credentials (
    LIKE credentials INCLUDING ALL,
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

-- All attempts to refresh a token, written before the call. An attempt without an end lost the
-- provider's response, and possibly a refresh token with it.
CREATE TABLE token_refresh_log (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    id            uuid NOT NULL,
    holder        text NOT NULL,
    version       bigint NOT NULL,
    attempted_at  timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    outcome       text,
    PRIMARY KEY (tenant_id, connection_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
