//! Methods of tokens: exchange, refresh and revocation.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Slack;
use super::actions::Acted;
use super::api::{Arguments, MethodResult, error_json};
use super::tokens::{Holder, IssuedToken, TokenState};
use super::world::{Code, World};
use crate::oauth::s256;

/// `oauth.v2.access`: exchanges a code or a refresh token.
pub(crate) fn access(service: &Slack, arguments: &Arguments, headers: &HeaderMap) -> MethodResult {
    authenticate_client(service, arguments, headers)?;
    match arguments.get("grant_type") {
        "refresh_token" => {
            service.core.stats.count("slack.refreshes", 1);
            refresh(service, arguments)
        }
        "" | "authorization_code" => {
            let code = service.world().codes.remove(arguments.get("code"));
            exchange_code(
                service,
                arguments,
                code.ok_or_else(|| error_json("invalid_code"))?,
            )
        }
        _ => Err(error_json("invalid_grant_type")),
    }
}

/// Exchanges a refresh token. Bot and user tokens have separate ones.
fn refresh(service: &Slack, arguments: &Arguments) -> MethodResult {
    let now = service.core.clock.seconds();
    let mut world = service.world();
    let holder = world
        .find_refresh_token_holder(arguments.get("refresh_token"))
        .ok_or_else(|| error_json("invalid_refresh_token"))?;
    let token = world.issue(&holder, true, now);
    Ok(refresh_response(service, &world, &holder, token))
}

fn refresh_response(service: &Slack, world: &World, holder: &Holder, token: IssuedToken) -> Value {
    let mut response = token_json(world, holder, token);
    add_installation(service, world, &holder.account, &mut response);
    match &holder.person {
        Some(person) => response["user_id"] = json!(person),
        None => response["bot_user_id"] = json!(world.bot_of(&holder.account)),
    }
    response
}

/// Exchanges a code for the tokens of the consent.
fn exchange_code(service: &Slack, arguments: &Arguments, code: Code) -> MethodResult {
    let now = service.core.clock.seconds();
    if code.expires_at <= now {
        return Err(error_json("invalid_code"));
    }
    if arguments.get("redirect_uri") != code.redirect_uri {
        return Err(error_json("bad_redirect_uri"));
    }
    let (rotation, adds_workspaces_manually, pkce) = {
        let settings = service.settings();
        (
            settings.rotation,
            settings.workspaces_by_hand,
            settings.pkce,
        )
    };
    verify_pkce(arguments, code.challenge.as_deref(), pkce)?;
    let mut world = service.world();
    let parent = world
        .teams
        .get(&code.account)
        .and_then(|team| team.organization.clone());
    if !code.scopes.is_empty() && parent.is_some_and(|organization| world.installed(&organization))
    {
        return Err(error_json("cannot_install_an_org_installed_app"));
    }
    let mut response = json!({ "ok": true });
    if !code.scopes.is_empty() {
        let bot = Holder::bot(&code.account);
        let token = world.grant_scopes(&bot, code.scopes, rotation, now);
        response = token_json(&world, &bot, token);
        response["bot_user_id"] = json!(world.bot_of(&code.account));
        if !adds_workspaces_manually {
            world.add_to_all_workspaces(&code.account);
        }
        world.join_all_public_channels(&code.account);
    }
    add_installation(service, &world, &code.account, &mut response);
    response["authed_user"] = json!({ "id": code.user });
    if !code.user_scopes.is_empty() {
        let person = Holder::person(&code.account, &code.user);
        let token = world.grant_scopes(&person, code.user_scopes, rotation, now);
        response["authed_user"] = token_json(&world, &person, token);
        if let Some(fields) = response["authed_user"].as_object_mut() {
            fields.remove("ok");
            fields.insert("id".to_owned(), json!(code.user));
        }
    }
    Ok(response)
}

/// Verifies the PKCE code verifier, if the app has PKCE on.
fn verify_pkce(arguments: &Arguments, challenge: Option<&str>, pkce: bool) -> Result<(), Value> {
    let verifier = arguments.get("code_verifier");
    match challenge {
        None if verifier.is_empty() => Ok(()),
        _ if !pkce => Err(error_json("pkce_not_allowed")),
        Some(challenge) if s256(verifier) == challenge => Ok(()),
        _ => Err(error_json("invalid_code_verifier")),
    }
}

/// Token fields of a response.
fn token_json(world: &World, holder: &Holder, token: IssuedToken) -> Value {
    let scopes = world
        .grant(holder)
        .map(|grant| grant.scopes.join(","))
        .unwrap_or_default();
    let mut response = json!({
        "ok": true, "access_token": token.access, "token_type": holder.kind(), "scope": scopes,
    });
    if let (Some(refresh), Some(seconds)) = (token.refresh, token.expires_in) {
        response["refresh_token"] = json!(refresh);
        response["expires_in"] = json!(seconds);
    }
    response
}

/// Adds the app, workspace and organization of a token to a response.
fn add_installation(service: &Slack, world: &World, account: &str, response: &mut Value) {
    response["app_id"] = json!(service.app.id);
    let organization = world.organizations.get(account);
    response["is_enterprise_install"] = json!(organization.is_some());
    let team = world.teams.get(account);
    response["team"] = json!(team.map(|team| json!({ "id": team.id, "name": team.name })));
    let parent = team.and_then(|team| world.organizations.get(team.organization.as_ref()?));
    response["enterprise"] = json!(
        organization
            .or(parent)
            .map(|one| json!({ "id": one.id, "name": one.name }))
    );
}

/// `oauth.v2.exchange`: exchanges a permanent token for one that rotates.
pub(crate) fn exchange(
    service: &Slack,
    arguments: &Arguments,
    headers: &HeaderMap,
    token: &str,
) -> MethodResult {
    authenticate_client(service, arguments, headers)?;
    let now = service.core.clock.seconds();
    let mut world = service.world();
    let TokenState::Active(holder) = world.token_state(token, now) else {
        return Err(error_json("invalid_token"));
    };
    if let Some(grant) = world.grant_mut(&holder) {
        grant.tokens.clear();
    }
    let token = world.issue(&holder, true, now);
    Ok(refresh_response(service, &world, &holder, token))
}

/// `auth.revoke`: revokes the grant of this token only.
pub(crate) fn revoke(service: &Slack, arguments: &Arguments, holder: &Holder) -> Value {
    let is_test = arguments.flag("test");
    if !is_test {
        service.transact(service.now(), |tx| tx.revoke(holder, true));
    }
    json!({ "ok": true, "revoked": !is_test })
}

/// `apps.uninstall`: removes the installation.
pub(crate) fn uninstall(
    service: &Slack,
    arguments: &Arguments,
    headers: &HeaderMap,
    account: &str,
) -> MethodResult {
    authenticate_client(service, arguments, headers)?;
    let uninstalled_first = service.settings().uninstalled_first;
    service.transact(service.now(), |tx| tx.uninstall(account, uninstalled_first));
    Ok(json!({ "ok": true }))
}

/// Checks client id and secret, from Basic authentication or the arguments.
fn authenticate_client(
    service: &Slack,
    arguments: &Arguments,
    headers: &HeaderMap,
) -> Result<(), Value> {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|pair| {
            let (id, secret) = pair.split_once(':')?;
            Some((id.to_owned(), secret.to_owned()))
        });
    let (id, secret) = basic.unwrap_or_else(|| {
        (
            arguments.get("client_id").to_owned(),
            arguments.get("client_secret").to_owned(),
        )
    });
    if id != service.app.client_id {
        return Err(error_json("invalid_client_id"));
    }
    if secret != service.app.client_secret {
        return Err(error_json("bad_client_secret"));
    }
    Ok(())
}
