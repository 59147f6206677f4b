//! Actions of people: changes of the world, entries of the logs, facts, and messages.

mod access;
mod drives;
mod files;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::facts::{self, Viewer};
use super::log::{Change, LogOwner, Removal, Subject};
use super::render::View;
use super::world::{File, Place, World};
use super::{GoogleDrive, SOURCE};
use crate::action::ActionOutcome;

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// Id or address of a person.
    pub(crate) account: String,
    pub(crate) action: String,
    /// Person who acts, by default that of the account; an unknown address is a person outside.
    pub(crate) actor: Option<String>,
    pub(crate) file: Option<String>,
    /// Folder, shared drive or `root`.
    pub(crate) to: Option<String>,
    /// Person to share with; an unknown address is a person outside.
    pub(crate) with: Option<String>,
    /// Name of a file or shared drive.
    pub(crate) text: Option<String>,
    pub(crate) mime_type: Option<String>,
    /// The new file is a folder.
    #[serde(default)]
    pub(crate) folder: bool,
    /// Times that the uploader states.
    pub(crate) created_time: Option<String>,
    pub(crate) modified_time: Option<String>,
}

/// Time of an action in epoch milliseconds, and whether it sends messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DriveTime {
    pub(crate) at: i64,
    pub(crate) is_live: bool,
}

/// Access to the world while an action changes it.
pub(crate) struct Transaction<'a> {
    service: &'a GoogleDrive,
    pub(super) world: &'a mut World,
    when: DriveTime,
    /// Person who acts.
    actor: String,
    /// Files with their viewers before and after the changes.
    touched: Vec<(String, BTreeSet<String>)>,
    /// Logs with new entries.
    changed: BTreeSet<String>,
}

type Outcome = Result<Value, &'static str>;

impl GoogleDrive {
    /// Performs an action. The error is the reason why it is impossible.
    pub(crate) fn perform(
        &self,
        params: &ActionParams,
        when: DriveTime,
    ) -> Result<ActionOutcome, &'static str> {
        let find = |login: &str| {
            let state = self.google.state();
            state.people.find(login).map(|person| person.sub.clone())
        };
        let account = find(&params.account).ok_or("unknown account")?;
        let actor = match &params.actor {
            Some(login) => find(login)
                .or_else(|| self.google.outsider(login))
                .ok_or("unknown actor")?,
            None => account.clone(),
        };
        let mut world = self.world();
        // The past of different accounts is generated one after the other.
        let at = if when.is_live {
            world.next_time(when.at)
        } else {
            when.at
        };
        let mut transaction = Transaction {
            service: self,
            world: &mut world,
            when: DriveTime { at, ..when },
            actor,
            touched: Vec::new(),
            changed: BTreeSet::new(),
        };
        let object = transaction.run(params, &account);
        debug_assert!(
            object.is_ok() || transaction.touched.is_empty(),
            "an impossible action changes nothing"
        );
        let object = object?;
        let facts = transaction.record_facts();
        if when.is_live {
            for resource in &transaction.changed {
                self.channels.notify(resource);
            }
        }
        Ok(ActionOutcome { object, facts })
    }

    /// The current time, with messages.
    pub(crate) fn now(&self) -> DriveTime {
        DriveTime {
            at: self.google.core.clock.milliseconds(),
            is_live: true,
        }
    }
}

impl Transaction<'_> {
    fn run(&mut self, params: &ActionParams, account: &str) -> Outcome {
        match params.action.as_str() {
            "file.created" => self.create(params),
            "file.shortcut" => self.create_shortcut(params),
            "drive.created" => Ok(self.create_drive(params)),
            "drive.joined" => self.join_drive(params, account),
            "drive.left" => self.leave_drive(params, account),
            _ => {
                let id = self.choose_file(params)?;
                self.run_on_file(params, &id)
            }
        }
    }

    fn run_on_file(&mut self, params: &ActionParams, id: &str) -> Outcome {
        match params.action.as_str() {
            "file.edited" => self.edit(params, id)?,
            "file.renamed" => self.rename(params, id),
            "file.commented" => self.touch_all(id),
            "file.starred" => self.star(id),
            "file.moved" => self.move_file(params, id)?,
            "file.shared" => self.share(params, id)?,
            "file.unshared" => self.unshare(params, id)?,
            "file.trashed" => self.trash(id)?,
            "file.untrashed" => self.untrash(id)?,
            "file.deleted" => self.delete(id),
            _ => return Err("unknown action"),
        }
        Ok(self.file_json(id))
    }

    /// The given file, or a random one of a place; a new one if there is none.
    fn choose_file(&mut self, params: &ActionParams) -> Result<String, &'static str> {
        if let Some(id) = &params.file {
            return if self.world.sees(&self.actor, id) {
                Ok(id.clone())
            } else {
                Err("unknown file")
            };
        }
        let action = params.action.as_str();
        let to = match &params.to {
            Some(to) if action != "file.moved" => to.clone(),
            _ => "root".to_owned(),
        };
        let (place, parent) = self.place(&to)?;
        let accepts = |file: &File| match action {
            "file.edited" => file.is_editable(),
            "file.unshared" => !file.access.is_empty(),
            _ => true,
        };
        match self.world.random_file(&place, accepts) {
            Some(id) => Ok(id),
            None if matches!(action, "file.unshared" | "file.untrashed") => {
                Err("no file allows this action")
            }
            None => {
                self.verify_on_new_file(params, &place, &parent)?;
                let created = self.create(&ActionParams {
                    to: Some(to),
                    ..ActionParams::default()
                })?;
                let id = created["id"].as_str().unwrap_or_default();
                Ok(id.to_owned())
            }
        }
    }

    /// Fails if an action is impossible on a new file of the actor in this folder.
    fn verify_on_new_file(
        &mut self,
        params: &ActionParams,
        place: &Place,
        parent: &str,
    ) -> Result<(), &'static str> {
        match params.action.as_str() {
            "file.edited" => files::stated(params.modified_time.as_ref()).map(drop),
            "file.moved" => self.place(params.to.as_deref().unwrap_or("root")).map(drop),
            "file.shared" => self.verify_share(params, place, parent),
            "file.renamed" | "file.commented" | "file.starred" | "file.trashed"
            | "file.deleted" | "file.shortcut" => Ok(()),
            _ => Err("unknown action"),
        }
    }

    /// Place and parent folder of a target.
    fn place(&mut self, to: &str) -> Result<(Place, String), &'static str> {
        if to == "root" {
            let root = self.world.root(&self.actor);
            return Ok((Place::MyDrive(self.actor.clone()), root));
        }
        if let Some(drive) = self.world.drives.get(to) {
            return if drive.members.contains(&self.actor) {
                Ok((Place::Shared(to.to_owned()), to.to_owned()))
            } else {
                Err("the actor is no member of the drive")
            };
        }
        let folder = self.world.files.get(to).filter(|file| file.is_folder());
        let folder = folder.ok_or("unknown folder or drive")?;
        Ok((folder.place.clone(), to.to_owned()))
    }

    fn file_mut(&mut self, id: &str) -> &mut File {
        let file = self.world.files.get_mut(id);
        file.unwrap_or_else(|| panic!("file {id} exists"))
    }

    /// The file as the actor sees it.
    fn file_json(&self, id: &str) -> Value {
        let state = self.service.google.state();
        let settings = self.service.settings();
        let view = View {
            world: self.world,
            people: &state.people,
            settings: &settings,
            sub: &self.actor,
        };
        let file = self.world.files.get(id);
        file.map_or_else(|| json!({ "id": id }), |file| view.file(file))
    }

    /// Logs a change of a file for all its viewers.
    fn touch_all(&mut self, id: &str) {
        self.file_mut(id).version += 1;
        let viewers = self.world.viewers(id);
        self.log_file(id, &viewers, &BTreeSet::new());
    }

    /// Logs a change of a file for those who see it, and its removal for others.
    fn log_file(&mut self, id: &str, viewers: &BTreeSet<String>, others: &BTreeSet<String>) {
        let file = self.world.files.get(id);
        let drive = file.and_then(File::drive).map(str::to_owned);
        for sub in viewers {
            let owner = LogOwner::Person(sub.clone());
            self.log(owner, id, Removal::No, drive.clone());
        }
        for sub in others {
            let owner = LogOwner::Person(sub.clone());
            self.log(owner, id, Removal::Gone, None);
        }
        if let Some(drive) = drive {
            let owner = LogOwner::Drive(drive.clone());
            self.log(owner, id, Removal::No, Some(drive));
        }
        let all = viewers.union(others).cloned().collect();
        self.touched.push((id.to_owned(), all));
    }

    fn log(&mut self, owner: LogOwner, file: &str, removal: Removal, drive: Option<String>) {
        self.log_subject(owner, Subject::File(file.to_owned()), removal, drive);
    }

    fn log_subject(
        &mut self,
        owner: LogOwner,
        subject: Subject,
        removal: Removal,
        drive: Option<String>,
    ) {
        self.changed.insert(owner.resource());
        self.world.logs.add(
            owner,
            Change {
                subject,
                removal,
                drive,
                time: self.when.at,
            },
        );
    }

    /// Records what the API shows of the touched files; returns the ledger rows of new facts.
    fn record_facts(&mut self) -> Vec<u64> {
        let google = &self.service.google;
        let mut new = Vec::new();
        for (id, viewers) in std::mem::take(&mut self.touched) {
            for sub in viewers {
                let container = google.container(SOURCE, &sub);
                let state = google.state();
                let settings = self.service.settings();
                let Some(person) = state.people.get(&sub) else {
                    continue;
                };
                let view = View {
                    world: self.world,
                    people: &state.people,
                    settings: &settings,
                    sub: &sub,
                };
                let owner = LogOwner::Person(sub.clone());
                let subject = Subject::File(id.clone());
                let entry = self.world.logs.find(&owner, &subject);
                let (position, change) = entry.unzip();
                let change = change.and_then(|change| change.in_person_list(true));
                let change = change.and_then(|change| view.change(&change, true));
                let file = self.world.files.get(&id);
                let file = file.filter(|_| self.world.sees(&sub, &id));
                let facts = match (change, file) {
                    (Some(change), _) => facts::of_change(&change, &person.permission_id),
                    (None, Some(file)) => {
                        facts::of_file(&view.file(file), &person.permission_id, None)
                    }
                    (None, None) => Vec::new(),
                };
                let grant = state.tokens.grant_number(&sub);
                let is_change_shown = self.when.is_live && self.world.logs.has_token(&owner, grant);
                let viewer = Viewer {
                    sub: &sub,
                    container,
                };
                let position = position.unwrap_or_default();
                new.extend(self.world.facts.replace(
                    &google.core.ledger,
                    &viewer,
                    &id,
                    facts,
                    position,
                    is_change_shown,
                ));
            }
        }
        new
    }
}
