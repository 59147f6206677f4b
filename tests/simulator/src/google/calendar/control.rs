//! Calendar's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::ActionParams;
use super::settings::Settings;
use super::world::World;
use super::{GoogleCalendar, generate};
use crate::Core;
use crate::generate::HistorySize;
use crate::google::people::People;
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};

type Service = Arc<GoogleCalendar>;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/google_calendar/accounts   organizations, people, calendars      POST adds one
GET    /_sim/google_calendar/settings   pages, expiry, deleted events         POST changes fields
POST   /_sim/google_calendar/act        carry out an action {account, action, ...}
POST   /_sim/google_calendar/generate   generate facts {count, account?}
POST   /_sim/google_calendar/cursors    expire sync tokens {expire, calendar?, after_pages?}
GET    /_sim/google_calendar/channels   watch channels
GET    /_sim/google_calendar/deliveries delivery attempts
";

pub(super) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/google_calendar/cursors", post(expire_cursors))
        .route("/_sim/google_calendar/channels", get(channels))
        .route("/_sim/google_calendar/deliveries", get(deliveries))
        .with_state(service)
}

/// An organization with the calendars of its administrator.
fn account_json(people: &People, world: &World, admin: &str) -> Value {
    let mut account = people.account_json(admin);
    let entries = world.users.get(admin).into_iter();
    let calendars = entries.flat_map(|user| user.list.values()).map(|entry| {
        json!({
            "id": entry.calendar, "role": entry.role.name(), "hidden": entry.is_hidden,
            "deleted": entry.is_deleted,
            "events": world.calendars.get(&entry.calendar).map(|one| one.events.len()),
        })
    });
    account["calendars"] = calendars.collect();
    account
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: Option<String>,
    /// Secondary calendars of the administrator.
    calendars: Option<usize>,
    people: Option<usize>,
    #[serde(default)]
    history: usize,
}

impl Controlled for GoogleCalendar {
    type Settings = Settings;
    type NewAccount = NewAccount;
    type ActionParams = ActionParams;

    fn core(&self) -> &Core {
        &self.google.core
    }

    fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    fn accounts(&self) -> Vec<Value> {
        let world = self.world();
        let state = self.google.state();
        let administrators = state.people.administrators().into_iter();
        administrators
            .map(|admin| account_json(&state.people, &world, &admin))
            .collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let admin = {
            let mut world = self.world();
            let admin = {
                let mut guard = self.google.state();
                let state = &mut *guard;
                let colleagues = new.people.unwrap_or(generate::DEFAULT_PEOPLE);
                state
                    .people
                    .add_organization(new.name.as_deref(), colleagues, &mut state.rng)
            };
            self.add_people(&mut world, new.calendars);
            admin
        };
        let history_size = HistorySize {
            facts: new.history,
            fixed_count: None,
        };
        generate::populate_account_history(self, &admin, history_size);
        let world = self.world();
        let state = self.google.state();
        Ok(account_json(&state.people, &world, &admin))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        let login = self.login(&params.account)?;
        self.transact(self.now(), |tx| tx.perform(&login, params))
            .map(Performed::from)
            .map_err(ControlError::conflict)
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        let login = match account {
            Some(account) => Some(self.login(account)?),
            None => None,
        };
        let facts = generate::generate(self, login.as_deref(), count);
        Ok(json!({ "facts": facts }))
    }
}

impl GoogleCalendar {
    /// Login of the person with this login or address.
    fn login(&self, account: &str) -> Result<String, ControlError> {
        let state = self.google.state();
        let person = state.people.find(account);
        let person = person.ok_or_else(|| ControlError::conflict("unknown account"))?;
        Ok(person.sub.clone())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpireCursors {
    /// Login or address of the person.
    expire: String,
    /// Id of the calendar; all calendars of the person and their list without it.
    calendar: Option<String>,
    /// Pages of incremental lists that are served before; on the first page without it.
    #[serde(default)]
    after_pages: u32,
}

async fn expire_cursors(
    State(service): State<Service>,
    Json(body): Json<ExpireCursors>,
) -> Result<StatusCode, ControlError> {
    let login = service.login(&body.expire)?;
    let mut guard = service.world();
    let world = &mut *guard;
    let user = world
        .users
        .get_mut(&login)
        .ok_or_else(|| ControlError::conflict("unknown account"))?;
    let calendars: Vec<String> = if let Some(calendar) = &body.calendar {
        let entry = user.entry(calendar).into_iter();
        entry.map(|entry| entry.calendar.clone()).collect()
    } else {
        user.list_log.expire_after(body.after_pages);
        user.list.keys().cloned().collect()
    };
    if calendars.is_empty() {
        return Err(ControlError::conflict("unknown calendar"));
    }
    for id in calendars {
        if let Some(calendar) = world.calendars.get_mut(&id) {
            calendar.log.expire_after(body.after_pages);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn channels(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "channels": service.channels.list() }))
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.channels.sender().attempts() }))
}
