//! The methods about tokens: giving, renewing and ending them.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Slack;
use super::api::{Answer, Arguments, refusal};
use super::tokens::{Holder, Issued};
use super::world::{Code, World};

/// `oauth.v2.access`: codes and refresh tokens.
pub(crate) fn access(hub: &Slack, arguments: &Arguments, headers: &HeaderMap) -> Answer {
    client(hub, arguments, headers)?;
    match arguments.get("grant_type") {
        "refresh_token" => {
            hub.core.stats.count("slack.refreshes", 1);
            refresh(hub, arguments)
        }
        "" | "authorization_code" => {
            let code = hub.world().codes.remove(arguments.get("code"));
            redeem(hub, arguments, code.ok_or_else(|| refusal("invalid_code"))?)
        }
        _ => Err(refusal("invalid_grant_type")),
    }
}

/// A refresh token is exchanged: the bot's and a person's are apart, and so are the answers.
fn refresh(hub: &Slack, arguments: &Arguments) -> Answer {
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    let holder = world
        .refreshed_by(arguments.get("refresh_token"))
        .ok_or_else(|| refusal("invalid_refresh_token"))?;
    let issued = world.issue(&holder, true, now);
    Ok(renewed(hub, &world, &holder, issued))
}

fn renewed(hub: &Slack, world: &World, holder: &Holder, issued: Issued) -> Value {
    let mut answer = token_json(world, holder, issued);
    place(hub, world, &holder.account, &mut answer);
    match &holder.person {
        Some(person) => answer["user_id"] = json!(person),
        None => answer["bot_user_id"] = json!(world.bot_of(&holder.account)),
    }
    answer
}

/// A code is exchanged for what was consented to.
fn redeem(hub: &Slack, arguments: &Arguments, code: Code) -> Answer {
    let now = hub.core.clock.seconds();
    if code.expires_at <= now {
        return Err(refusal("invalid_code"));
    }
    if arguments.get("redirect_uri") != code.redirect_uri {
        return Err(refusal("bad_redirect_uri"));
    }
    let (rotation, by_hand, pkce) = {
        let settings = hub.settings();
        (
            settings.rotation,
            settings.workspaces_by_hand,
            settings.pkce,
        )
    };
    prove(arguments, code.challenge.as_deref(), pkce)?;
    let mut world = hub.world();
    let above = world
        .teams
        .get(&code.account)
        .and_then(|team| team.organization.clone());
    if !code.scopes.is_empty() && above.is_some_and(|organization| world.installed(&organization)) {
        return Err(refusal("cannot_install_an_org_installed_app"));
    }
    let mut answer = json!({ "ok": true });
    if !code.scopes.is_empty() {
        let bot = Holder::bot(&code.account);
        let issued = world.give(&bot, code.scopes, rotation, now);
        answer = token_json(&world, &bot, issued);
        answer["bot_user_id"] = json!(world.bot_of(&code.account));
        if !by_hand {
            world.add_everywhere(&code.account);
        }
        world.join_everywhere(&code.account);
    }
    place(hub, &world, &code.account, &mut answer);
    answer["authed_user"] = json!({ "id": code.user });
    if !code.user_scopes.is_empty() {
        let person = Holder::person(&code.account, &code.user);
        let issued = world.give(&person, code.user_scopes, rotation, now);
        answer["authed_user"] = token_json(&world, &person, issued);
        if let Some(fields) = answer["authed_user"].as_object_mut() {
            fields.remove("ok");
            fields.insert("id".to_owned(), json!(code.user));
        }
    }
    Ok(answer)
}

/// PKCE, for apps that have turned it on.
fn prove(arguments: &Arguments, challenge: Option<&str>, pkce: bool) -> Result<(), Value> {
    let verifier = arguments.get("code_verifier");
    match challenge {
        None if verifier.is_empty() => Ok(()),
        _ if !pkce => Err(refusal("pkce_not_allowed")),
        Some(challenge)
            if URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == challenge =>
        {
            Ok(())
        }
        _ => Err(refusal("invalid_code_verifier")),
    }
}

/// A token with what comes with it.
fn token_json(world: &World, holder: &Holder, issued: Issued) -> Value {
    let scopes = world
        .grant(holder)
        .map(|grant| grant.scopes.join(","))
        .unwrap_or_default();
    let mut answer = json!({
        "ok": true, "access_token": issued.access, "token_type": holder.kind(), "scope": scopes,
    });
    if let (Some(refresh), Some(life)) = (issued.refresh, issued.expires_in) {
        answer["refresh_token"] = json!(refresh);
        answer["expires_in"] = json!(life);
    }
    answer
}

/// What a token is for.
fn place(hub: &Slack, world: &World, account: &str, answer: &mut Value) {
    answer["app_id"] = json!(hub.app.id);
    let organization = world.organizations.get(account);
    answer["is_enterprise_install"] = json!(organization.is_some());
    let team = world.teams.get(account);
    answer["team"] = json!(team.map(|team| json!({ "id": team.id, "name": team.name })));
    let above = team.and_then(|team| world.organizations.get(team.organization.as_ref()?));
    answer["enterprise"] = json!(
        organization
            .or(above)
            .map(|one| json!({ "id": one.id, "name": one.name }))
    );
}

/// `oauth.v2.exchange`: a token that does not end becomes one that rotates.
pub(crate) fn exchange(
    hub: &Slack,
    arguments: &Arguments,
    headers: &HeaderMap,
    token: &str,
) -> Answer {
    client(hub, arguments, headers)?;
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    let super::tokens::Standing::Good(holder) = world.standing(token, now) else {
        return Err(refusal("invalid_token"));
    };
    if let Some(grant) = world.grant_mut(&holder) {
        grant.tokens.clear();
    }
    let issued = world.issue(&holder, true, now);
    Ok(renewed(hub, &world, &holder, issued))
}

/// `auth.revoke`: this token's grant, and only that.
pub(crate) fn revoke(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Value {
    let tried = arguments.flag("test");
    if !tried {
        hub.stage(hub.now(), |stage| stage.revoke(holder, true));
    }
    json!({ "ok": true, "revoked": !tried })
}

/// `apps.uninstall`: the whole installation.
pub(crate) fn uninstall(
    hub: &Slack,
    arguments: &Arguments,
    headers: &HeaderMap,
    account: &str,
) -> Answer {
    client(hub, arguments, headers)?;
    let first = hub.settings().uninstalled_first;
    hub.stage(hub.now(), |stage| stage.uninstall(account, first));
    Ok(json!({ "ok": true }))
}

/// Checks client id and secret, from Basic authentication or the arguments.
fn client(hub: &Slack, arguments: &Arguments, headers: &HeaderMap) -> Result<(), Value> {
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
    if id != hub.app.client_id {
        return Err(refusal("invalid_client_id"));
    }
    if secret != hub.app.client_secret {
        return Err(refusal("bad_client_secret"));
    }
    Ok(())
}
