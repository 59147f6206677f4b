//! People of the caller's organization.

use serde_json::{Value, json};

use super::api::{Answer, Call};
use super::errors::ApiError;
use super::page::{page, parse_token, token};
use super::settings::Settings;
use super::world::{User, World};

/// Maximum number of rows of a page.
const MAX_ROWS: usize = 100;

/// Time after which `modified_after` no longer reports a change.
const MODIFICATIONS_SECONDS: i64 = 7 * 24 * 3_600;

/// `GET /users`.
pub(super) fn list(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
    now: i64,
) -> Result<Answer, ApiError> {
    let limit = call.limit(MAX_ROWS.min(settings.max_page_size))?;
    let after = match call.text("next_token") {
        Some(text) => {
            let [zuid] = parse_token(text).ok_or_else(|| call.invalid())?;
            Some((0, zuid))
        }
        None => None,
    };
    let since = call.millis("modified_after")?;
    let since = since.map(|since| since.max((now - MODIFICATIONS_SECONDS) * 1_000));
    let search = call.text("search").map(str::to_lowercase);
    let is_active = matches!(call.text("status"), None | Some("active"));
    let users = world.colleagues(call.login).into_iter();
    let users = users
        .filter(|user| is_active && since.is_none_or(|since| user.modified * 1_000 > since))
        .filter(|user| {
            let text = format!("{} {}", user.name(), user.address).to_lowercase();
            search.as_ref().is_none_or(|search| text.contains(search))
        })
        .map(|user| ((0, user.zuid.clone()), user));
    let page = page(users.collect(), after.as_ref(), limit);
    let data: Vec<Value> = page.rows.iter().map(|user| row(user)).collect();
    let mut body = json!({ "data": data, "has_more": page.last.is_some() });
    if let Some((_, zuid)) = page.last {
        body["next_token"] = json!(token(&[&zuid]));
    }
    Ok(Answer::of(body))
}

/// `GET /users/{id}`, by id or address.
pub(super) fn get(world: &World, call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let mut users = world.colleagues(call.login).into_iter();
    let user = users.find(|user| user.zuid == id || user.address.eq_ignore_ascii_case(id));
    let user = user.ok_or_else(ApiError::user_not_found)?;
    let (zone, offset) = user.data_center.time_zone();
    let organization = user.organization.to_string();
    Ok(Answer::of(json!({ "data": {
        "id": user.zuid, "email_id": user.address, "name": user.name(),
        "display_name": user.name(), "full_name": user.name(), "first_name": user.first_name,
        "last_name": user.last_name, "organization_id": organization, "zoid": organization,
        "status": "active", "timezone": zone, "timeoffset": offset * 1_000,
        "language": "English", "country": "United States",
    } })))
}

fn row(user: &User) -> Value {
    let organization = user.organization.to_string();
    json!({
        "id": user.zuid, "zuid": user.zuid, "zoid": organization,
        "organization_id": organization, "email_id": user.address, "name": user.name(),
        "display_name": user.name(),
    })
}
