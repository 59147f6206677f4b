//! Methods of workspaces, users and channels, and their pagination.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Slack;
use super::api::{Arguments, MethodResult, error_json};
use super::scopes::{required, resolve_workspace};
use super::tokens::Holder;
use super::world::{Channel, Kind, User, World};

pub(crate) fn auth_test(service: &Slack, holder: &Holder) -> Value {
    let world = service.world();
    let user = match &holder.person {
        Some(person) => person.as_str(),
        None => world.bot_of(&holder.account),
    };
    let organization = world.organizations.get(&holder.account);
    let team = world.teams.get(&holder.account);
    let (id, name, host) = match (organization, team) {
        (Some(one), _) => (&one.id, &one.name, format!("{}.enterprise", one.domain)),
        (None, Some(one)) => (&one.id, &one.name, one.domain.clone()),
        (None, None) => return error_json("team_not_found"),
    };
    let mut response = json!({
        "ok": true, "url": format!("https://{host}.slack.com/"), "team": name, "team_id": id,
        "user": world.users[user].name, "user_id": user,
        "is_enterprise_install": organization.is_some(),
    });
    let parent = team.and_then(|team| team.organization.as_ref());
    if let Some(organization) = organization.map(|one| &one.id).or(parent) {
        response["enterprise_id"] = json!(organization);
    }
    if holder.person.is_none() {
        response["bot_id"] = json!(World::bot_id(&holder.account));
    }
    response
}

/// `auth.teams.list`: the workspaces to which a token has access.
pub(crate) fn workspaces(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let page = Page::read(service, "auth.teams.list", arguments, 100, 1_000)?;
    let world = service.world();
    let all = world.workspaces(&holder.account);
    let render = |team: &String| json!({ "id": team, "name": world.teams[team].name });
    Ok(page.response("teams", &all, render))
}

pub(crate) fn team_info(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    world.require_scope(holder, "team:read")?;
    let id = match arguments.get("team") {
        "" => holder.account.as_str(),
        id => id,
    };
    if let Some(organization) = world.organizations.get(id) {
        return Ok(json!({ "ok": true, "team": {
            "id": organization.id, "name": organization.name, "domain": organization.domain,
        } }));
    }
    let team = world
        .teams
        .get(id)
        .filter(|team| world.covers(&holder.account, &team.id))
        .ok_or_else(|| error_json("team_not_found"))?;
    let mut object = json!({
        "id": team.id, "name": team.name, "domain": team.domain, "email_domain": "",
        "icon": { "image_default": true },
    });
    if let Some(parent) = team
        .organization
        .as_ref()
        .map(|id| &world.organizations[id])
    {
        object["enterprise_id"] = json!(parent.id);
        object["enterprise_name"] = json!(parent.name);
    }
    Ok(json!({ "ok": true, "team": object }))
}

pub(crate) fn user_info(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    world.require_scope(holder, "users:read")?;
    let user = world
        .users
        .get(arguments.get("user"))
        .ok_or_else(|| error_json("user_not_found"))?;
    Ok(json!({ "ok": true, "user": world.user_json(user) }))
}

pub(crate) fn users(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let page = Page::read(service, "users.list", arguments, 1_000, 1_000)?;
    let world = service.world();
    world.require_scope(holder, "users:read")?;
    let team = resolve_workspace(&world, holder, arguments.get("team_id"))?;
    let bot = world.bot_of(&holder.account);
    let all: Vec<&User> = world
        .users
        .values()
        .filter(|user| user.team == team || user.id == bot)
        .collect();
    let mut response = page.response("members", &all, |user| world.user_json(user));
    response["cache_ts"] = json!(page.now);
    Ok(response)
}

/// Whether a token's holder is in a channel. People are in all channels of their workspace.
pub(crate) fn is_in(world: &World, holder: &Holder, channel: &Channel) -> bool {
    let Some(person) = &holder.person else {
        return channel.bots.contains(&holder.account);
    };
    let team = world.users.get(person).map(|user| &user.team);
    match channel.kind {
        Kind::Direct => channel.creator == *person,
        _ => team.is_some_and(|team| channel.teams.contains(team)),
    }
}

/// `users.conversations` (with `own`), or `conversations.list`.
pub(crate) fn conversations(
    service: &Slack,
    arguments: &Arguments,
    holder: &Holder,
    own: bool,
) -> MethodResult {
    let (method, max) = if own {
        ("users.conversations", 999)
    } else {
        ("conversations.list", 1_000)
    };
    let page = Page::read(service, method, arguments, 100, max)?;
    let world = service.world();
    let mut kinds = Vec::new();
    for name in arguments.get_or("types", "public_channel").split(',') {
        let kind = [Kind::Public, Kind::Private, Kind::Direct]
            .into_iter()
            .find(|kind| kind.conversation_type() == name.trim());
        match kind {
            Some(kind) => {
                world.require_scope(holder, &format!("{}:read", kind.scope_family()))?;
                kinds.push(kind);
            }
            None if name == "mpim" => world.require_scope(holder, "mpim:read")?,
            None => return Err(error_json("invalid_types")),
        }
    }
    let team = resolve_workspace(&world, holder, arguments.get("team_id"))?;
    let all: Vec<&Channel> = world
        .channels_of(&team)
        .filter(|channel| {
            let member = is_in(&world, holder, channel);
            let public = !own && channel.kind == Kind::Public;
            kinds.contains(&channel.kind) && (member || public)
        })
        .collect();
    if !own {
        let facts = page.items(&all).iter();
        let facts = facts.filter_map(|channel| channel.facts.get(&holder.account).copied());
        service.core.ledger.mark_polled(facts);
    }
    Ok(page.response("channels", &all, |channel| {
        world.channel_json(channel, holder)
    }))
}

/// The requested channel, if it is visible to the token's holder.
pub(crate) fn find_channel<'w>(
    world: &'w World,
    arguments: &Arguments,
    holder: &Holder,
) -> Result<&'w Channel, Value> {
    let id = required(arguments.get("channel"), "channel")?;
    world
        .channels
        .get(id)
        .filter(|channel| {
            let is_visible =
                channel.kind == Kind::Public && world.covers_channel(&holder.account, channel);
            is_visible || is_in(world, holder, channel)
        })
        .ok_or_else(|| error_json("channel_not_found"))
}

pub(crate) fn conversation_info(
    service: &Slack,
    arguments: &Arguments,
    holder: &Holder,
) -> MethodResult {
    let world = service.world();
    let channel = find_channel(&world, arguments, holder)?;
    world.require_scope(holder, &format!("{}:read", channel.kind.scope_family()))?;
    let mut object = world.channel_json(channel, holder);
    if arguments.flag("include_num_members") {
        object["num_members"] = json!(member_ids(&world, channel).len());
    }
    Ok(json!({ "ok": true, "channel": object }))
}

pub(crate) fn join(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let mut world = service.world();
    let channel = find_channel(&world, arguments, holder)?;
    if channel.kind != Kind::Public {
        return Err(error_json("method_not_supported_for_channel_type"));
    }
    let (id, member) = (channel.id.clone(), is_in(&world, holder, channel));
    world.require_scope(
        holder,
        if holder.person.is_some() {
            "channels:write"
        } else {
            "channels:join"
        },
    )?;
    if holder.person.is_none()
        && let Some(channel) = world.channels.get_mut(&id)
    {
        channel.bots.insert(holder.account.clone());
    }
    let mut response =
        json!({ "ok": true, "channel": world.channel_json(&world.channels[&id], holder) });
    if member {
        response["warning"] = json!("already_in_channel");
        response["response_metadata"] = json!({ "warnings": ["already_in_channel"] });
    }
    Ok(response)
}

/// Ids of a channel's people and bots.
fn member_ids(world: &World, channel: &Channel) -> Vec<String> {
    let people = channel
        .teams
        .iter()
        .flat_map(|team| &world.teams[team].people);
    let people =
        people.filter(|person| channel.kind != Kind::Direct || **person == channel.creator);
    let bots = channel
        .bots
        .iter()
        .map(|account| world.bot_of(account).to_owned());
    people.cloned().chain(bots).collect()
}

pub(crate) fn members(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let page = Page::read(service, "conversations.members", arguments, 1_000, 1_000)?;
    let world = service.world();
    let channel = find_channel(&world, arguments, holder)?;
    world.require_scope(holder, &format!("{}:read", channel.kind.scope_family()))?;
    let all = member_ids(&world, channel);
    Ok(page.response("members", &all, |id| json!(id)))
}

/// `apps.event.authorizations.list`, which needs the app-level token.
pub(crate) fn authorizations(service: &Slack, arguments: &Arguments) -> MethodResult {
    const METHOD: &str = "apps.event.authorizations.list";
    let page = Page::read(service, METHOD, arguments, 100, 1_000)?;
    let world = service.world();
    let context = required(arguments.get("event_context"), "event_context")?;
    let all = world
        .contexts
        .get(context)
        .ok_or_else(|| error_json("invalid_event_context"))?;
    Ok(page.response("authorizations", all, |(account, team)| {
        world.authorization_json(account, team)
    }))
}

/// Requested page of a list. Cursors are opaque, bound to a method, and expire.
pub(crate) struct Page {
    method: &'static str,
    start: usize,
    limit: usize,
    /// Every third page, if the setting `empty_pages` is on.
    is_empty: bool,
    now: i64,
}

impl Page {
    /// Reads the arguments. Locks the world.
    pub(crate) fn read(
        service: &Slack,
        method: &'static str,
        arguments: &Arguments,
        default: usize,
        max: usize,
    ) -> Result<Self, Value> {
        let now = service.core.clock.seconds();
        let (ttl, empty_pages) = {
            let settings = service.settings();
            (settings.cursor_seconds, settings.empty_pages)
        };
        let limit = arguments.limit(default, max)?;
        let start = match arguments.get("cursor") {
            "" => 0,
            cursor => usize::try_from(read_cursor(cursor, method, now, ttl)?).unwrap_or(0),
        };
        let is_empty = empty_pages && {
            let mut world = service.world();
            world.list_responses += 1;
            world.list_responses.is_multiple_of(3)
        };
        Ok(Self {
            method,
            start,
            limit,
            is_empty,
            now,
        })
    }

    /// Items of the page.
    fn items<'r, T>(&self, all: &'r [T]) -> &'r [T] {
        let start = self.start.min(all.len());
        let end = if self.is_empty {
            start
        } else {
            (start + self.limit).min(all.len())
        };
        &all[start..end]
    }

    /// Response with the page. Only the items of the page are rendered.
    pub(crate) fn response<T>(
        &self,
        name: &str,
        all: &[T],
        render: impl FnMut(&T) -> Value,
    ) -> Value {
        let items = self.items(all);
        let end = self.start.min(all.len()) + items.len();
        let next = if end < all.len() {
            cursor(self.method, i64::try_from(end).unwrap_or(0), self.now)
        } else {
            String::new()
        };
        let rows: Vec<Value> = items.iter().map(render).collect();
        json!({ "ok": true, name: rows, "response_metadata": { "next_cursor": next } })
    }
}

/// A cursor of a method, at a position.
pub(crate) fn cursor(method: &str, position: i64, now: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{method}|{position}|{now}"))
}

/// Method and position of a cursor, without the time at which it was issued.
pub(crate) fn cursor_position(cursor: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let position = text
        .rsplit_once('|')
        .map(|(position, _)| position.to_owned());
    position.unwrap_or_else(|| cursor.to_owned())
}

/// Position of a cursor of this method, until it expires.
pub(crate) fn read_cursor(cursor: &str, method: &str, now: i64, ttl: i64) -> Result<i64, Value> {
    let read = || -> Option<(i64, i64)> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let mut parts = text.strip_prefix(method)?.strip_prefix('|')?.split('|');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    match read() {
        Some((position, issued_at)) if now - issued_at < ttl => Ok(position),
        _ => Err(error_json("invalid_cursor")),
    }
}
