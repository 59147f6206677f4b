-- Named operators, the links by which they sign in to the console, and their sessions there. The
-- tables have no tenant data; only api-server reads them. A hash is the SHA-256 of a random secret.

CREATE TYPE operator_role AS ENUM ('viewer', 'operator', 'admin');

-- Rows are kept after a revocation, because the audit log refers to them.
CREATE TABLE operators (
    id           uuid PRIMARY KEY,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    role         operator_role NOT NULL,
    token_hash   bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    hint         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX operators_token_hash ON operators (token_hash);
-- A name in the audit log belongs to one person. Names of revoked operators are not given again.
CREATE UNIQUE INDEX operators_name ON operators (lower(name));

-- A link is valid for five minutes and once.
CREATE TABLE operator_login_links (
    link_hash   bytea PRIMARY KEY CHECK (octet_length(link_hash) = 32),
    operator_id uuid NOT NULL REFERENCES operators,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz
);
CREATE INDEX operator_login_links_expires_at ON operator_login_links (expires_at);

-- A session belongs to a named operator, or to the token in the settings whose digest it has.
CREATE TABLE operator_sessions (
    session_hash bytea PRIMARY KEY CHECK (octet_length(session_hash) = 32),
    id           uuid NOT NULL UNIQUE,
    operator_id  uuid REFERENCES operators,
    token_digest bytea CHECK (octet_length(token_digest) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    active_at    timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    CHECK ((operator_id IS NULL) <> (token_digest IS NULL))
);
CREATE INDEX operator_sessions_operator_id ON operator_sessions (operator_id);
CREATE INDEX operator_sessions_expires_at ON operator_sessions (expires_at);

-- The audit log of all tenants, newest first, and the entries of one object.
CREATE INDEX audit_log_all ON audit_log (id);
CREATE INDEX audit_log_target ON audit_log (tenant_id, target, id);
