//! Creation and membership of shared drives.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ActionParams, Outcome, Transaction};
use crate::google::drive::log::{LogOwner, Removal, Subject};
use crate::google::drive::render;
use crate::google::drive::world::SharedDrive;

impl Transaction<'_> {
    /// Creates a shared drive with the actor as its only member.
    pub(super) fn create_drive(&mut self, params: &ActionParams) -> Value {
        let id = self.world.id("0A", 19);
        let number = self.world.drives.len() + 1;
        let name = params.text.clone();
        let drive = SharedDrive {
            id: id.clone(),
            name: name.unwrap_or_else(|| format!("Drive {number}")),
            created: self.when.at,
            members: BTreeSet::from([self.actor.clone()]),
        };
        let body = render::drive(&drive);
        self.world.drives.insert(id.clone(), drive);
        let actor = self.actor.clone();
        self.log_membership(&id, &actor, Removal::No);
        body
    }

    /// Adds a person to a shared drive: `with`, or the account.
    pub(super) fn join_drive(&mut self, params: &ActionParams, account: &str) -> Outcome {
        let person = self.member(params, account)?;
        let id = params.to.as_deref().ok_or("the drive is missing")?;
        let drive = self.world.drives.get_mut(id).ok_or("unknown drive")?;
        if !drive.members.insert(person.clone()) {
            return Err("the person is a member");
        }
        self.log_membership(id, &person, Removal::No);
        Ok(self.drive_json(id))
    }

    /// Removes a person from a shared drive: `with`, or the account.
    pub(super) fn leave_drive(&mut self, params: &ActionParams, account: &str) -> Outcome {
        let person = self.member(params, account)?;
        let id = params.to.as_deref().ok_or("the drive is missing")?;
        let drive = self.world.drives.get_mut(id).ok_or("unknown drive")?;
        if !drive.members.remove(&person) {
            return Err("the person is no member");
        }
        self.log_membership(id, &person, Removal::Gone);
        Ok(self.drive_json(id))
    }

    fn member(&self, params: &ActionParams, account: &str) -> Result<String, &'static str> {
        let Some(login) = &params.with else {
            return Ok(account.to_owned());
        };
        let state = self.service.google.state();
        let person = state.people.find(login).ok_or("unknown person")?;
        Ok(person.sub.clone())
    }

    fn drive_json(&self, id: &str) -> Value {
        let drive = self.world.drives.get(id);
        drive.map_or_else(|| json!({ "id": id }), render::drive)
    }

    /// Logs the drive itself; its files have no entries of their own for this.
    fn log_membership(&mut self, drive: &str, sub: &str, removal: Removal) {
        let owner = LogOwner::Person(sub.to_owned());
        let subject = Subject::Drive(drive.to_owned());
        self.log_subject(owner, subject, removal, Some(drive.to_owned()));
        let files = self.world.files.values();
        let of_drive = files.filter(|file| file.drive() == Some(drive));
        let touched: Vec<_> = of_drive
            .map(|file| (file.id.clone(), BTreeSet::from([sub.to_owned()])))
            .collect();
        self.touched.extend(touched);
    }
}
