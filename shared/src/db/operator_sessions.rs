//! Sessions of operators in the console, and the links by which they sign in.
//!
//! A session's cookie and a link's token are random; only their SHA-256 is stored. A session ends
//! eight hours after the last activity, a day after its start, when it is ended, and when its
//! operator is revoked or expires. Statements join several tables, so they are SQL.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::FromRow;

use super::{Db, DbError, OperatorProof, Tx};
use crate::crypto;
use crate::model::{OperatorId, OperatorRole, OperatorSessionId};

/// Random bytes in a session's cookie and in a link's token.
const SECRET_BYTES: usize = 32;
/// The length of these secrets in base64url.
pub const SECRET_LENGTH: usize = 43;

/// The operator of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOwner {
    /// A named operator.
    Named(OperatorId),
    /// The operator of the settings, with the digest of the token that was presented.
    Bootstrap([u8; 32]),
}

impl SessionOwner {
    /// The owner for a token of the settings.
    pub fn bootstrap(token: &SecretString) -> Self {
        let context = ["poblysh console session:", token.expose_secret()].concat();
        Self::Bootstrap(crypto::sha256(context.as_bytes()))
    }
}

/// A valid session.
#[derive(Debug, Clone)]
pub struct OperatorSession {
    /// Its id.
    pub id: OperatorSessionId,
    /// The operator's id; `None` for the operator of the settings.
    pub operator: Option<OperatorId>,
    /// The operator's name.
    pub name: String,
    /// The operator's role at this time.
    pub role: OperatorRole,
    /// The proof with which it reads all tenants.
    pub proof: OperatorProof,
    /// Whether [`touch`] must record the activity, because none is recorded for this minute.
    pub needs_touch: bool,
}

/// A new login link.
#[derive(Debug)]
pub struct LoginLink {
    /// The token in its URL.
    pub token: SecretString,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    id: OperatorSessionId,
    operator_id: Option<OperatorId>,
    token_digest: Option<Vec<u8>>,
    name: Option<String>,
    role: Option<OperatorRole>,
    needs_touch: bool,
}

/// Creates a link of five minutes for a valid operator; `None` if it is revoked, expired or unknown.
pub async fn create_link(tx: &mut Tx, operator: OperatorId) -> Result<Option<LoginLink>, DbError> {
    delete_expired(tx).await?;
    let token = crypto::random_token(SECRET_BYTES);
    let expires_at: Option<DateTime<Utc>> = sqlx::query_scalar(
        "INSERT INTO operator_login_links (link_hash, operator_id, expires_at) \
         SELECT $1, id, now() + interval '5 minutes' FROM operators \
         WHERE id = $2 AND revoked_at IS NULL AND expires_at > now() RETURNING expires_at",
    )
    .bind(hash(token.expose_secret()))
    .bind(operator)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(expires_at.map(|expires_at| LoginLink { token, expires_at }))
}

/// Returns the name of the operator of a link that can be used.
pub async fn find_link(db: &Db, token: &str) -> Result<Option<String>, DbError> {
    let _permit = db.acquire_client_share(None).await?;
    let name = sqlx::query_scalar(
        "SELECT o.name FROM operator_login_links l JOIN operators o ON o.id = l.operator_id \
         WHERE l.link_hash = $1 AND l.used_at IS NULL AND l.expires_at > now() \
             AND o.revoked_at IS NULL AND o.expires_at > now()",
    )
    .bind(hash(token))
    .fetch_optional(db)
    .await?;
    Ok(name)
}

/// Consumes a link; `None` if it is used, expired or unknown, or its operator is not valid.
pub async fn use_link(tx: &mut Tx, token: &str) -> Result<Option<OperatorId>, DbError> {
    Ok(sqlx::query_scalar(
        "UPDATE operator_login_links l SET used_at = now() FROM operators o \
         WHERE l.link_hash = $1 AND l.used_at IS NULL AND l.expires_at > now() \
             AND o.id = l.operator_id AND o.revoked_at IS NULL AND o.expires_at > now() \
         RETURNING o.id",
    )
    .bind(hash(token))
    .fetch_optional(&mut **tx)
    .await?)
}

/// Starts a session; returns its id and the value of its cookie.
pub async fn start(
    tx: &mut Tx,
    owner: SessionOwner,
) -> Result<(OperatorSessionId, SecretString), DbError> {
    delete_expired(tx).await?;
    let (operator, digest) = match owner {
        SessionOwner::Named(id) => (Some(id), None),
        SessionOwner::Bootstrap(digest) => (None, Some(digest.to_vec())),
    };
    let (id, cookie) = (
        OperatorSessionId::generate(),
        crypto::random_token(SECRET_BYTES),
    );
    sqlx::query(
        "INSERT INTO operator_sessions (session_hash, id, operator_id, token_digest, expires_at) \
         VALUES ($1, $2, $3, $4, now() + interval '24 hours')",
    )
    .bind(hash(cookie.expose_secret()))
    .bind(id)
    .bind(operator)
    .bind(digest)
    .execute(&mut **tx)
    .await?;
    Ok((id, cookie))
}

/// Returns the session of a cookie, if it is valid.
///
/// `bootstrap` has the owners for the tokens of the settings: removing a token ends its sessions.
pub async fn find(
    db: &Db,
    cookie: &str,
    bootstrap: &[SessionOwner],
) -> Result<Option<OperatorSession>, DbError> {
    // A cookie that is not verified yet must not take the operators' share.
    let _permit = db.acquire_client_share(None).await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT s.id, s.operator_id, s.token_digest, o.name, o.role, \
             s.active_at < now() - interval '1 minute' AS needs_touch \
         FROM operator_sessions s LEFT JOIN operators o ON o.id = s.operator_id \
         WHERE s.session_hash = $1 AND s.ended_at IS NULL AND s.expires_at > now() \
             AND s.active_at > now() - interval '8 hours' \
             AND (s.operator_id IS NULL OR o.revoked_at IS NULL AND o.expires_at > now())",
    )
    .bind(hash(cookie))
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|row| row.session(bootstrap)))
}

impl Row {
    fn session(self, bootstrap: &[SessionOwner]) -> Option<OperatorSession> {
        let (name, role) = if let Some(digest) = &self.token_digest {
            let is_configured = bootstrap.iter().any(|owner| {
                matches!(owner, SessionOwner::Bootstrap(known)
                    if crypto::constant_time_eq(known, digest))
            });
            is_configured.then_some(("bootstrap".to_owned(), OperatorRole::Admin))?
        } else {
            (self.name?, self.role?)
        };
        Some(OperatorSession {
            id: self.id,
            operator: self.operator_id,
            name,
            role,
            proof: OperatorProof::of_named(),
            needs_touch: self.needs_touch,
        })
    }
}

/// Records activity in a session.
pub async fn touch(db: &Db, id: OperatorSessionId) -> Result<(), DbError> {
    let _permit = db.acquire_operator_share().await?;
    sqlx::query(
        "UPDATE operator_sessions SET active_at = now() WHERE id = $1 AND ended_at IS NULL",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}

/// Ends a session.
pub async fn end(tx: &mut Tx, id: OperatorSessionId) -> Result<(), DbError> {
    sqlx::query("UPDATE operator_sessions SET ended_at = now() WHERE id = $1 AND ended_at IS NULL")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes sessions and links that ended a day ago, so that their number stays bounded.
async fn delete_expired(tx: &mut Tx) -> Result<(), DbError> {
    for statement in [
        "DELETE FROM operator_sessions WHERE expires_at < now() - interval '1 day'",
        "DELETE FROM operator_login_links WHERE expires_at < now() - interval '1 day'",
    ] {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    Ok(())
}

fn hash(secret: &str) -> Vec<u8> {
    crypto::sha256(secret.as_bytes()).to_vec()
}
