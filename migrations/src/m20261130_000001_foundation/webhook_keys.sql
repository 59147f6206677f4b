-- What deliveries to a connection's own URL are verified with: a secret that both sides share, or a
-- public key of the provider's. Both are sealed under a key that ingress holds and that opens
-- nothing else, a public key so that it cannot be exchanged. The one without `expires_at` is
-- current; the previous one expires a day after a rotation.
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

-- Connections that take a secret from the provider, once, until the time given.
CREATE TABLE webhook_arming (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    armed_until   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

-- Stores a connection's next key. The present one ends after the overlap, an older one at once: two
-- are valid at most. Answers when the present one ends.
CREATE FUNCTION put_webhook_key(
    of_tenant uuid, of_connection uuid, new_id uuid, sealed bytea, is_public boolean, overlap interval
) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    present_ends timestamptz;
BEGIN
    DELETE FROM webhook_secrets
    WHERE tenant_id = of_tenant AND connection_id = of_connection AND expires_at IS NOT NULL;
    UPDATE webhook_secrets SET expires_at = now() + overlap
    WHERE tenant_id = of_tenant AND connection_id = of_connection
    RETURNING expires_at INTO present_ends;
    INSERT INTO webhook_secrets (tenant_id, connection_id, id, secret, is_public_key)
    VALUES (of_tenant, of_connection, new_id, sealed, is_public);
    RETURN present_ends;
END
$$;

-- Stores a secret that the provider handed over, if the connection is armed, and disarms it. All that
-- ingress may do to webhook secrets; it runs as the owner, who is bound by these policies.
CREATE FUNCTION take_webhook_secret(
    of_tenant uuid, of_connection uuid, new_id uuid, sealed bytea, overlap interval
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM webhook_arming
    WHERE tenant_id = of_tenant AND connection_id = of_connection AND armed_until > now();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM put_webhook_key(of_tenant, of_connection, new_id, sealed, false, overlap);
    INSERT INTO audit_log (tenant_id, id, actor, action, target)
    VALUES (of_tenant, new_id, 'provider', 'connection.webhook_secret_received', of_connection::text);
    RETURN true;
END
$$;
