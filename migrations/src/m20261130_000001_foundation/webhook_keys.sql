-- Keys that verify deliveries to a connection's own URL: a shared secret, or a public key of the
-- provider. Both are sealed with a key that ingress holds and that decrypts nothing else; a public
-- key is sealed so that it cannot be replaced. The row without `expires_at` is the current key; the
-- previous one expires a day after a rotation, and at once if the provider sends another secret.
CREATE TABLE webhook_secrets (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    id            uuid NOT NULL,
    secret        bytea NOT NULL,
    is_public_key boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    PRIMARY KEY (tenant_id, connection_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE UNIQUE INDEX webhook_secrets_current
    ON webhook_secrets (tenant_id, connection_id) WHERE expires_at IS NULL;

-- Connections that accept one secret from the provider until `armed_until`.
CREATE TABLE webhook_arming (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    armed_until   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

-- Stores a connection's next key. The current key expires after the overlap and an older one is
-- deleted, so at most two are valid. Returns when the current key expires.
CREATE FUNCTION put_webhook_key(
    of_tenant uuid, of_connection uuid, new_id uuid, sealed bytea, is_public boolean, overlap interval
) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    previous_expires_at timestamptz;
BEGIN
    DELETE FROM webhook_secrets
    WHERE tenant_id = of_tenant AND connection_id = of_connection AND expires_at IS NOT NULL;
    UPDATE webhook_secrets SET expires_at = now() + overlap
    WHERE tenant_id = of_tenant AND connection_id = of_connection
    RETURNING expires_at INTO previous_expires_at;
    INSERT INTO webhook_secrets (tenant_id, connection_id, id, secret, is_public_key)
    VALUES (of_tenant, of_connection, new_id, sealed, is_public);
    RETURN previous_expires_at;
END
$$;

-- Stores a secret from the provider if the connection is armed, and disarms it. It ends every earlier
-- key at once: that may be the secret of a stranger who knew the URL, and a delivery signed with a
-- replaced one is found by polling. Ingress may write webhook secrets only through this function,
-- which runs as the owner.
CREATE FUNCTION accept_webhook_secret(
    of_tenant uuid, of_connection uuid, new_id uuid, sealed bytea
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM webhook_arming
    WHERE tenant_id = of_tenant AND connection_id = of_connection AND armed_until > now();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM webhook_secrets WHERE tenant_id = of_tenant AND connection_id = of_connection;
    INSERT INTO webhook_secrets (tenant_id, connection_id, id, secret)
    VALUES (of_tenant, of_connection, new_id, sealed);
    INSERT INTO audit_log (tenant_id, id, actor, action, target)
    VALUES (of_tenant, new_id, 'provider', 'connection.webhook_secret_received', of_connection::text);
    RETURN true;
END
$$;
