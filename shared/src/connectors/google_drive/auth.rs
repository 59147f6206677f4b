//! Scopes, and the identity of an account in Drive.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{READ, call, url};
use super::normalize::PERMISSION_ID;
use super::wire::User;
use crate::connectors::error::permanent_error;
use crate::connectors::google::{Client, Consent};
use crate::connectors::wire::or_default;
use crate::connectors::{Access, CallbackOutcome, ConnectorError, NewGrant, with_new_token};
use crate::model::ExternalAccount;

/// Builds the grant of a consent.
pub(super) async fn connect(
    client: &Client,
    consent: Consent,
) -> Result<CallbackOutcome, ConnectorError> {
    let mut account = consent.identity.account(Value::Null);
    let user = with_new_token(|| {
        let token = consent.tokens.access_token.clone();
        let access = access(account.clone(), token);
        Box::pin(async move { about(client, &access).await })
    })
    .await;
    let permission_id = user.and_then(|user| {
        let missing = || permanent_error("Drive names no permission id of the person");
        user.id.ok_or_else(missing)
    });
    let permission_id = match permission_id {
        Ok(id) => id,
        Err(error) => return consent.failed(error),
    };
    account.settings = json!({ PERMISSION_ID: permission_id });
    Ok(CallbackOutcome::connected(NewGrant {
        account,
        tokens: Some(consent.tokens),
        user_token: None,
        scopes: consent.scopes,
        administrator: None,
    }))
}

const fn access(account: ExternalAccount, token: SecretString) -> Access {
    Access {
        account,
        token,
        user_token: None,
    }
}

/// Reads the account's current address, which a person may change.
pub(super) async fn describe(
    client: &Client,
    access: &Access,
) -> Result<ExternalAccount, ConnectorError> {
    let user = about(client, access).await?;
    let mut account = access.account.clone();
    if let Some(address) = user.address {
        account.name = address;
    }
    Ok(account)
}

/// Reads the person's identity in Drive.
async fn about(client: &Client, access: &Access) -> Result<User, ConnectorError> {
    #[derive(Deserialize)]
    struct About {
        #[serde(default, deserialize_with = "or_default")]
        user: User,
    }
    let call = call(access, "get_about", READ);
    // The fields are mandatory.
    let query = [("fields", "user(displayName,emailAddress,permissionId)")];
    let response = client.get(&call, url(client, &["about"]), &query).await?;
    let about: About = response.json()?;
    Ok(about.user)
}
