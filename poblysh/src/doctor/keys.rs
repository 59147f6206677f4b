//! The keys: whether they open every sealed value of the database.

use std::io;

use shared::config::{CryptoConfig, Env, Reader};
use shared::connectors::Finding;
use shared::crypto::Keyring;
use shared::db::Db;
use shared::db::sealed::{OpenReport, SealedKind, open_all};

use super::database::chain;
use super::report::Report;

const AREA: &str = "keys";
/// The most connections that a finding names.
const MAX_NAMED: usize = 5;

/// Opens all values of both kinds.
pub(super) async fn check(env: &Env, db: Option<&Db>, report: &mut Report) -> io::Result<()> {
    let mut reader = Reader::new(env);
    let tokens = CryptoConfig::from_reader(&mut reader);
    let webhooks = CryptoConfig::for_webhook_secrets(&mut reader);
    let (Ok(()), Some(db)) = (reader.finish(), db) else {
        let finding = Finding::failure(
            "tokens",
            "not checked: the keys are invalid, or the database does not accept the api-server",
            "Correct POBLYSH_CRYPTO_KEY, POBLYSH_INGRESS_CRYPTO_KEY and the database first.",
        );
        return report.add(AREA, finding);
    };
    let kinds = [
        (SealedKind::Tokens, Some(tokens), "tokens", "CRYPTO"),
        (
            SealedKind::WebhookKeys,
            webhooks,
            "webhook_keys",
            "INGRESS_CRYPTO",
        ),
    ];
    for (kind, config, subject, prefix) in kinds {
        let keyring = config.as_ref().map(Keyring::new);
        let finding = match open_all(db, kind, keyring.as_ref()).await {
            Ok(opened) => assess(subject, prefix, keyring.as_ref(), &opened),
            Err(error) => Finding::failure(
                subject,
                format!("not readable: {}", chain(&error)),
                "Run `poblysh migrate up`, then try again.",
            ),
        };
        report.add(AREA, finding)?;
    }
    Ok(())
}

fn assess(
    subject: &'static str,
    prefix: &str,
    keyring: Option<&Keyring>,
    opened: &OpenReport,
) -> Finding {
    let all = opened.current + opened.previous + opened.unknown + opened.damaged;
    let named: Vec<String> = opened
        .connections
        .iter()
        .take(MAX_NAMED)
        .map(ToString::to_string)
        .collect();
    let named = named.join(", ");
    if opened.unknown > 0 {
        let unknown = opened.unknown;
        let missing = match keyring {
            None => format!("POBLYSH_{prefix}_KEY is not set"),
            Some(_) => "their key is not configured".to_owned(),
        };
        return Finding::failure(
            subject,
            format!(
                "{unknown} of {all} sealed values do not open: {missing} (connections {named})"
            ),
            format!(
                "Set the key that sealed them as POBLYSH_{prefix}_KEY, or add it to \
                 POBLYSH_{prefix}_PREVIOUS_KEYS; if it is lost, these connections must connect again."
            ),
        );
    }
    if opened.damaged > 0 {
        let damaged = opened.damaged;
        return Finding::failure(
            subject,
            format!("{damaged} of {all} sealed values were changed (connections {named})"),
            "Restore these rows from a backup, or let the connections connect again.",
        );
    }
    let rotation = match (keyring.is_some_and(Keyring::has_previous), opened.previous) {
        (false, _) => String::new(),
        (true, 0) => "; no value needs a previous key, so it can be removed".to_owned(),
        (true, previous) => format!("; {previous} still need a previous key"),
    };
    Finding::ok(subject, format!("all {all} sealed values open{rotation}"))
}
