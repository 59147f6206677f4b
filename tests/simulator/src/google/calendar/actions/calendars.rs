//! Changes of people's lists of calendars.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::change_log::ChangeLog;
use super::super::facts::{self, CalendarFacts};
use super::super::time::{ZONES, Zone};
use super::super::world::{Calendar, ListEntry, Origin, Role, User};
use super::{ActionParams, Changed, Refusal, Transaction};
use crate::action::ActionOutcome;

/// A person who gets a calendar.
pub(in super::super) struct NewUser<'a> {
    pub(crate) login: &'a str,
    pub(crate) address: &'a str,
    pub(crate) name: &'a str,
    pub(crate) zone: Zone,
}

impl Transaction<'_> {
    /// Adds a person with a primary calendar, a published one, and `secondary` others.
    pub(crate) fn add_user(&mut self, new: &NewUser<'_>, secondary: usize) {
        let user = User {
            address: new.address.to_owned(),
            name: new.name.to_owned(),
            zone: new.zone,
            list: BTreeMap::new(),
            list_log: ChangeLog::default(),
        };
        self.world.add_user(new.login, user);
        self.make_calendar(new.login, new.address, new.address, Origin::Primary);
        let holidays = "en.usa#holiday@group.v.calendar.google.com";
        if !self.world.calendars.contains_key(holidays) {
            let title = "Holidays in United States";
            self.insert_calendar(holidays.to_owned(), title, ZONES[2], None);
        }
        self.put_entry(new.login, holidays, Role::Reader);
        for number in 1..=secondary {
            let id = self.secondary_id();
            let title = format!("{} calendar {number}", new.name);
            self.make_calendar(new.login, &id, &title, Origin::Secondary);
        }
    }

    fn secondary_id(&mut self) -> String {
        let digest: String = (0..64)
            .map(|_| char::from_digit(rand::RngExt::random_range(&mut self.world.rng, 0..16), 16))
            .map(Option::unwrap_or_default)
            .collect();
        format!("c_{digest}@group.calendar.google.com")
    }

    /// Makes a calendar of a person, and adds it to the person's list.
    fn make_calendar(&mut self, login: &str, id: &str, title: &str, origin: Origin) {
        let user = &self.world.users[login];
        let (zone, owner) = (user.zone, user.address.clone());
        self.insert_calendar(id.to_owned(), title, zone, Some((owner, origin)));
        self.put_entry(login, id, Role::Owner);
    }

    fn insert_calendar(
        &mut self,
        id: String,
        title: &str,
        zone: Zone,
        owner: Option<(String, Origin)>,
    ) {
        let origin = owner
            .as_ref()
            .map_or(Origin::Published, |(_, origin)| *origin);
        let calendar = Calendar {
            summary: title.to_owned(),
            zone,
            origin,
            data_owner: owner.map(|(address, _)| address),
            events: BTreeMap::new(),
            log: ChangeLog::default(),
            updated: self.world.micros(self.at),
            writers: BTreeSet::new(),
            tombstones: BTreeSet::new(),
            facts: CalendarFacts::default(),
            id: id.clone(),
        };
        self.world.calendars.insert(id, calendar);
    }

    /// Adds a calendar to a person's list, or changes the person's access to it.
    fn put_entry(&mut self, login: &str, calendar: &str, role: Role) {
        let (updated, container) = (self.world.micros(self.at), self.world.container());
        let user = self.world.users.get_mut(login).expect("the person exists");
        let color = user.list.len() % 24;
        let former = user.list.get(calendar);
        let entry = ListEntry {
            calendar: calendar.to_owned(),
            role,
            is_hidden: false,
            is_deleted: false,
            updated,
            container: former.map_or(container, |former| former.container),
            color: former.map_or(color, |former| former.color),
        };
        user.list.insert(calendar.to_owned(), entry);
        user.list_log.touch(calendar);
        self.changed.insert(Changed::CalendarList(login.to_owned()));
        if role >= Role::Writer
            && let Some(calendar) = self.world.calendars.get_mut(calendar)
        {
            calendar.writers.insert(login.to_owned());
        }
    }

    /// Makes a calendar, or adds an existing one with a role.
    pub(super) fn add_calendar(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let role = match params.role.as_deref() {
            Some(role) => Some(Role::find(role).ok_or("unknown role")?),
            None => None,
        };
        let id = if let Some(id) = &params.calendar {
            let owner = self
                .world
                .calendars
                .get(id)
                .ok_or("unknown calendar")?
                .data_owner
                .clone();
            let is_own = owner.as_deref() == Some(self.world.users[login].address.as_str());
            let default = if is_own { Role::Owner } else { Role::Writer };
            self.put_entry(login, id, role.unwrap_or(default));
            id.clone()
        } else {
            let id = self.secondary_id();
            let title = params.text.clone().unwrap_or_else(|| "Team".to_owned());
            self.make_calendar(login, &id, &title, Origin::Secondary);
            id
        };
        let facts = facts::settle_calendar(self.world, self.ledger, &id);
        Ok(ActionOutcome {
            object: json!({ "calendar": id }),
            facts,
        })
    }

    /// Changes an entry of a person's list.
    pub(super) fn change_entry(
        &mut self,
        login: &str,
        params: &ActionParams,
        change: impl FnOnce(&mut ListEntry),
    ) -> Result<ActionOutcome, Refusal> {
        let micros = self.world.micros(self.at);
        let user = self.world.users.get_mut(login).ok_or("unknown account")?;
        let mut others = user.list.values();
        let other = others.rfind(|entry| entry.calendar != user.address && !entry.is_deleted);
        let id = params
            .calendar
            .as_ref()
            .or(other.map(|entry| &entry.calendar))
            .ok_or("the account has no other calendar")?
            .clone();
        if id == user.address {
            return Err("the primary calendar stays in the list");
        }
        let entry = user.list.get_mut(&id).ok_or("unknown calendar")?;
        if entry.is_deleted {
            return Err("the calendar is not in the list");
        }
        change(entry);
        entry.updated = micros;
        user.list_log.touch(&id);
        self.changed.insert(Changed::CalendarList(login.to_owned()));
        Ok(ActionOutcome {
            object: json!({ "calendar": id }),
            facts: Vec::new(),
        })
    }
}
