//! The connect flow: install the app, then prove by OAuth who did it.
//!
//! Leg one is the install page; GitHub comes back with `installation_id` and
//! `setup_action`. Leg two is OAuth; GitHub comes back with `code`. An app that asks for
//! OAuth during installation sends both at once, and a person may come with a `code` alone.

use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::oauth::{self, Exchange};
use crate::connectors::github::GitHub;
use crate::connectors::github::client::{Call, PER_PAGE, operator_fault};
use crate::connectors::github::wire::{Installation, InstallationList, User, decimal};
use crate::connectors::{AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, NewGrant};

/// Pages of a person's installations that are read before giving up: ten thousand of them.
const MOST_PAGES: usize = 100;

/// What leg two must know of leg one. Untrusted: it only says what is to be proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "setup")]
enum Carry {
    /// The app was installed.
    Installed {
        /// As the redirect claimed.
        installation_id: String,
    },
    /// The app was asked for; an owner of the organization must approve.
    Requested,
}

/// Where the browser goes next.
pub(in super::super) fn authorize(github: &GitHub, request: &AuthorizeRequest) -> Url {
    if request.carry.is_none() {
        let folder = github.client.apps_folder();
        let mut url = github
            .client
            .web(&[folder, &github.app.slug, "installations", "new"]);
        url.query_pairs_mut().append_pair("state", &request.state);
        return url;
    }
    let mut url = github.client.web(&["login", "oauth", "authorize"]);
    url.query_pairs_mut()
        .append_pair("client_id", &github.app.client_id)
        .append_pair("redirect_uri", request.redirect_uri.as_str())
        .append_pair("state", &request.state)
        .append_pair("code_challenge", &request.code_challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

/// What a redirect led to.
pub(in super::super) async fn exchange_token(
    github: &GitHub,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    if let Some(error) = callback.param("error") {
        return refused(error);
    }
    let claim = match claim(callback) {
        Ok(claim) => claim,
        Err(reason) => return Ok(CallbackOutcome::denied(reason)),
    };
    let Some(code) = callback.param("code").filter(|code| !code.is_empty()) else {
        return claim.map_or_else(
            || {
                Ok(CallbackOutcome::denied(
                    "GitHub's answer names neither an installation nor a code.",
                ))
            },
            |claim| proceed(&claim),
        );
    };
    let token = match oauth::exchange(github, callback, code).await? {
        Exchange::Token(token) => token,
        Exchange::Denied(reason) => return Ok(CallbackOutcome::denied(reason)),
    };
    let outcome = prove(github, &token, claim).await;
    oauth::discard(github, &token).await;
    outcome
}

/// GitHub's word for why there is no code, from the redirect's query: untrusted, so only
/// known words are understood and none is repeated.
fn refused(error: &str) -> Result<CallbackOutcome, ConnectorError> {
    match error {
        "redirect_uri_mismatch" | "application_suspended" | "incorrect_client_credentials" => Err(
            operator_fault(format!("GitHub refused the app with {error}")),
        ),
        "access_denied" => Ok(CallbackOutcome::denied(
            "The authorization was declined at GitHub.",
        )),
        _ => Ok(CallbackOutcome::denied(
            "GitHub did not authorize the connection.",
        )),
    }
}

/// What the redirect, or the leg before it, claims. A redirect's own word goes first.
fn claim(callback: &Callback) -> Result<Option<Carry>, &'static str> {
    if callback.param("setup_action") == Some("request") {
        return Ok(Some(Carry::Requested));
    }
    if let Some(id) = callback.param("installation_id") {
        if !decimal(id) {
            return Err("GitHub's answer names an installation that cannot exist.");
        }
        return Ok(Some(Carry::Installed {
            installation_id: id.to_owned(),
        }));
    }
    let carried = callback
        .carry
        .clone()
        .map(serde_json::from_value)
        .transpose();
    carried.map_err(|_| "The connection was begun by another version; please begin again.")
}

fn proceed(claim: &Carry) -> Result<CallbackOutcome, ConnectorError> {
    let carry =
        serde_json::to_value(claim).map_err(|error| ConnectorError::Permanent(error.into()))?;
    Ok(CallbackOutcome::Continue { carry })
}

/// Lets the person's own token say what they may connect.
async fn prove(
    github: &GitHub,
    token: &SecretString,
    claim: Option<Carry>,
) -> Result<CallbackOutcome, ConnectorError> {
    let id = match claim {
        Some(Carry::Requested) => {
            let call = Call::new(oauth::ACCOUNT, "get_user", token);
            let user: User = github
                .client
                .get(github.client.api(&["user"]), call)
                .await?
                .json()?;
            return user.id.map_or_else(
                || Err(operator_fault("GitHub names no id for the person")),
                |id| {
                    Ok(CallbackOutcome::AwaitingApproval {
                        requester: id.to_string(),
                    })
                },
            );
        }
        Some(Carry::Installed { installation_id }) => {
            if !theirs(github, token).await?.contains(&installation_id) {
                return Ok(CallbackOutcome::denied(
                    "This installation is not among those you have access to.",
                ));
            }
            installation_id
        }
        None => {
            let mut theirs = theirs(github, token).await?;
            match (theirs.pop(), theirs.is_empty()) {
                (Some(only), true) => only,
                (None, _) => {
                    return Ok(CallbackOutcome::denied(
                        "The app is not installed on any of your accounts.",
                    ));
                }
                (Some(_), false) => {
                    return Ok(CallbackOutcome::denied(
                        "The app is installed on several of your accounts; \
                         please begin again and choose one on the install page.",
                    ));
                }
            }
        }
    };
    grant(github, &id).await
}

/// The ids of the installations that this person has access to.
async fn theirs(github: &GitHub, token: &SecretString) -> Result<Vec<String>, ConnectorError> {
    let mut url = github.client.api(&["user", "installations"]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let call = Call::new(oauth::ACCOUNT, "list_user_installations", token);
        let answer = github.client.get(url, call).await?;
        let page: InstallationList = answer.json()?;
        found.extend(
            page.installations
                .iter()
                .map(|installation| installation.id.to_string()),
        );
        match answer.links().next {
            Some(next) => url = next,
            None => break,
        }
    }
    Ok(found)
}

/// The installation as the app itself sees it.
async fn grant(github: &GitHub, id: &str) -> Result<CallbackOutcome, ConnectorError> {
    let path = ["app", "installations", id];
    let answer = github
        .as_app(Method::GET, &path, "get_installation")
        .await?;
    let installation: Installation = answer.json()?;
    if installation.suspended_at.is_some() {
        return Ok(CallbackOutcome::denied(
            "The installation is suspended; end the suspension at GitHub and begin again.",
        ));
    }
    let account = installation
        .external_account()
        .ok_or_else(|| operator_fault("GitHub names no account for the installation"))?;
    Ok(CallbackOutcome::connected(NewGrant {
        account,
        tokens: None,
        person: None,
        scopes: installation.scopes(),
        routes: Vec::new(),
    }))
}
