//! Who and what there is: identities, workspaces, people, channels.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Slack;
use super::api::{Answer, Arguments, refusal};
use super::scopes::{required, workspace};
use super::tokens::Holder;
use super::world::{Channel, Kind, User, World};

pub(crate) fn auth_test(hub: &Slack, holder: &Holder) -> Value {
    let world = hub.world();
    let user = match &holder.person {
        Some(person) => person.as_str(),
        None => world.bot_of(&holder.account),
    };
    let organization = world.organizations.get(&holder.account);
    let team = world.teams.get(&holder.account);
    let (id, name, host) = match (organization, team) {
        (Some(one), _) => (&one.id, &one.name, format!("{}.enterprise", one.domain)),
        (None, Some(one)) => (&one.id, &one.name, one.domain.clone()),
        (None, None) => return refusal("team_not_found"),
    };
    let mut answer = json!({
        "ok": true, "url": format!("https://{host}.slack.com/"), "team": name, "team_id": id,
        "user": world.users[user].name, "user_id": user,
        "is_enterprise_install": organization.is_some(),
    });
    let above = team.and_then(|team| team.organization.as_ref());
    if let Some(organization) = organization.map(|one| &one.id).or(above) {
        answer["enterprise_id"] = json!(organization);
    }
    if holder.person.is_none() {
        answer["bot_id"] = json!(World::bot_id(&holder.account));
    }
    answer
}

/// `auth.teams.list`: the workspaces that a token is good for.
pub(crate) fn workspaces(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let page = Page::read(hub, "auth.teams.list", arguments, 100, 1_000)?;
    let world = hub.world();
    let all = world.workspaces(&holder.account);
    let show = |team: &String| json!({ "id": team, "name": world.teams[team].name });
    Ok(page.answer("teams", &all, show))
}

pub(crate) fn team_info(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    world.need(holder, "team:read")?;
    let wanted = match arguments.get("team") {
        "" => holder.account.as_str(),
        named => named,
    };
    if let Some(organization) = world.organizations.get(wanted) {
        return Ok(json!({ "ok": true, "team": {
            "id": organization.id, "name": organization.name, "domain": organization.domain,
        } }));
    }
    let team = world
        .teams
        .get(wanted)
        .filter(|team| world.covers(&holder.account, &team.id))
        .ok_or_else(|| refusal("team_not_found"))?;
    let mut shown = json!({
        "id": team.id, "name": team.name, "domain": team.domain, "email_domain": "",
        "icon": { "image_default": true },
    });
    if let Some(above) = team
        .organization
        .as_ref()
        .map(|id| &world.organizations[id])
    {
        shown["enterprise_id"] = json!(above.id);
        shown["enterprise_name"] = json!(above.name);
    }
    Ok(json!({ "ok": true, "team": shown }))
}

pub(crate) fn user_info(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    world.need(holder, "users:read")?;
    let user = world
        .users
        .get(arguments.get("user"))
        .ok_or_else(|| refusal("user_not_found"))?;
    Ok(json!({ "ok": true, "user": world.user_json(user) }))
}

pub(crate) fn users(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let page = Page::read(hub, "users.list", arguments, 1_000, 1_000)?;
    let world = hub.world();
    world.need(holder, "users:read")?;
    let team = workspace(&world, holder, arguments.get("team_id"))?;
    let bot = world.bot_of(&holder.account);
    let all: Vec<&User> = world
        .users
        .values()
        .filter(|user| user.team == team || user.id == bot)
        .collect();
    let mut answer = page.answer("members", &all, |user| world.user_json(user));
    answer["cache_ts"] = json!(page.now);
    Ok(answer)
}

/// Whether a token's holder is in a channel: people are in all of their workspace's.
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

/// The caller's own channels, or all that it can see.
pub(crate) fn conversations(
    hub: &Slack,
    arguments: &Arguments,
    holder: &Holder,
    own: bool,
) -> Answer {
    let (method, most) = if own {
        ("users.conversations", 999)
    } else {
        ("conversations.list", 1_000)
    };
    let page = Page::read(hub, method, arguments, 100, most)?;
    let world = hub.world();
    let mut kinds = Vec::new();
    for name in arguments.or("types", "public_channel").split(',') {
        let kind = [Kind::Public, Kind::Private, Kind::Direct]
            .into_iter()
            .find(|kind| kind.listed_as() == name.trim());
        match kind {
            Some(kind) => {
                world.need(holder, &format!("{}:read", kind.family()))?;
                kinds.push(kind);
            }
            None if name == "mpim" => world.need(holder, "mpim:read")?,
            None => return Err(refusal("invalid_types")),
        }
    }
    let team = workspace(&world, holder, arguments.get("team_id"))?;
    let all: Vec<&Channel> = world
        .channels_of(&team)
        .filter(|channel| {
            let member = is_in(&world, holder, channel);
            let public = !own && channel.kind == Kind::Public;
            kinds.contains(&channel.kind) && (member || public)
        })
        .collect();
    if !own {
        let facts = page.of(&all).iter();
        let facts = facts.filter_map(|channel| channel.facts.get(&holder.account).copied());
        hub.core.ledger.mark_polled(facts);
    }
    Ok(page.answer("channels", &all, |channel| {
        world.channel_json(channel, holder)
    }))
}

/// A channel that the token's holder may know of.
pub(crate) fn known<'w>(
    world: &'w World,
    arguments: &Arguments,
    holder: &Holder,
) -> Result<&'w Channel, Value> {
    let id = required(arguments.get("channel"), "channel")?;
    world
        .channels
        .get(id)
        .filter(|channel| {
            let open = channel.kind == Kind::Public && world.reaches(&holder.account, channel);
            open || is_in(world, holder, channel)
        })
        .ok_or_else(|| refusal("channel_not_found"))
}

pub(crate) fn conversation_info(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    let channel = known(&world, arguments, holder)?;
    world.need(holder, &format!("{}:read", channel.kind.family()))?;
    let mut shown = world.channel_json(channel, holder);
    if arguments.flag("include_num_members") {
        shown["num_members"] = json!(everybody(&world, channel).len());
    }
    Ok(json!({ "ok": true, "channel": shown }))
}

pub(crate) fn join(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let mut world = hub.world();
    let channel = known(&world, arguments, holder)?;
    if channel.kind != Kind::Public {
        return Err(refusal("method_not_supported_for_channel_type"));
    }
    let (id, member) = (channel.id.clone(), is_in(&world, holder, channel));
    world.need(
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
    let mut answer =
        json!({ "ok": true, "channel": world.channel_json(&world.channels[&id], holder) });
    if member {
        answer["warning"] = json!("already_in_channel");
        answer["response_metadata"] = json!({ "warnings": ["already_in_channel"] });
    }
    Ok(answer)
}

/// Everybody who is in a channel.
fn everybody(world: &World, channel: &Channel) -> Vec<String> {
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

pub(crate) fn members(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let page = Page::read(hub, "conversations.members", arguments, 1_000, 1_000)?;
    let world = hub.world();
    let channel = known(&world, arguments, holder)?;
    world.need(holder, &format!("{}:read", channel.kind.family()))?;
    let all = everybody(&world, channel);
    Ok(page.answer("members", &all, |id| json!(id)))
}

/// Everybody who sees an event; asked with the app's own token.
pub(crate) fn authorizations(hub: &Slack, arguments: &Arguments) -> Answer {
    const METHOD: &str = "apps.event.authorizations.list";
    let page = Page::read(hub, METHOD, arguments, 100, 1_000)?;
    let world = hub.world();
    let context = required(arguments.get("event_context"), "event_context")?;
    let all = world
        .contexts
        .get(context)
        .ok_or_else(|| refusal("invalid_event_context"))?;
    Ok(page.answer("authorizations", all, |(account, team)| {
        world.authorization_json(account, team)
    }))
}

/// A page of a list, as it is asked for. Cursors are opaque, belong to their method, and end.
pub(crate) struct Page {
    method: &'static str,
    start: usize,
    limit: usize,
    /// Every third page, where empty pages are on.
    may_be_empty: bool,
    now: i64,
}

impl Page {
    /// Reads the arguments. Takes the world for a moment.
    pub(crate) fn read(
        hub: &Slack,
        method: &'static str,
        arguments: &Arguments,
        otherwise: usize,
        most: usize,
    ) -> Result<Self, Value> {
        let now = hub.core.clock.seconds();
        let (life, empty_pages) = {
            let settings = hub.settings();
            (settings.cursor_seconds, settings.empty_pages)
        };
        let limit = arguments.limit(otherwise, most)?;
        let start = match arguments.get("cursor") {
            "" => 0,
            cursor => usize::try_from(read_cursor(cursor, method, now, life)?).unwrap_or(0),
        };
        let may_be_empty = empty_pages && {
            let mut world = hub.world();
            world.answered += 1;
            world.answered.is_multiple_of(3)
        };
        Ok(Self {
            method,
            start,
            limit,
            may_be_empty,
            now,
        })
    }

    /// The part of a list that the page shows.
    fn of<'r, T>(&self, all: &'r [T]) -> &'r [T] {
        let start = self.start.min(all.len());
        let end = if self.may_be_empty {
            start
        } else {
            (start + self.limit).min(all.len())
        };
        &all[start..end]
    }

    /// The answer with the page of a list; only its rows are rendered.
    pub(crate) fn answer<T>(
        &self,
        name: &str,
        all: &[T],
        render: impl FnMut(&T) -> Value,
    ) -> Value {
        let shown = self.of(all);
        let end = self.start.min(all.len()) + shown.len();
        let next = if end < all.len() {
            cursor(self.method, i64::try_from(end).unwrap_or(0), self.now)
        } else {
            String::new()
        };
        let rows: Vec<Value> = shown.iter().map(render).collect();
        json!({ "ok": true, name: rows, "response_metadata": { "next_cursor": next } })
    }
}

/// A cursor of a method.
pub(crate) fn cursor(method: &str, place: i64, now: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{method}|{place}|{now}"))
}

/// What a cursor points at, whenever it was given.
pub(crate) fn cursor_place(cursor: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let place = text.rsplit_once('|').map(|(place, _)| place.to_owned());
    place.unwrap_or_else(|| cursor.to_owned())
}

/// The place that a cursor of this method points at, as long as it is honoured.
pub(crate) fn read_cursor(cursor: &str, method: &str, now: i64, life: i64) -> Result<i64, Value> {
    let read = || -> Option<(i64, i64)> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let mut parts = text.strip_prefix(method)?.strip_prefix('|')?.split('|');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    match read() {
        Some((place, since)) if now - since < life => Ok(place),
        _ => Err(refusal("invalid_cursor")),
    }
}
