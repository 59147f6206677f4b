-- Secrets, sealed with AES-256-GCM and bound to tenant, connection, holder and field.

-- Tokens of connections. The holder is `account`, or `user:` with the provider's id of a person, at
-- providers that issue user tokens in addition to account tokens. `version` counts the holder's
-- tokens; the refresh_* columns are the lease of the process that refreshes them, and the time of
-- an attempt whose response may have been lost.
CREATE TABLE credentials (
    tenant_id            uuid NOT NULL,
    connection_id        uuid NOT NULL,
    holder               text NOT NULL CHECK (holder = 'account' OR holder LIKE 'user:_%'),
    version              bigint NOT NULL DEFAULT 1,
    access_token         bytea,
    refresh_token        bytea,
    expires_at           timestamptz,
    refresh_expires_at   timestamptz,
    refresh_lease        uuid,
    refresh_lease_until  timestamptz,
    refresh_attempted_at timestamptz,
    updated_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, holder),
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
