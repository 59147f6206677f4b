//! Creation, edits, trash and deletion of files.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;

use super::{ActionParams, Outcome, Transaction};
use crate::google::drive::log::{LogOwner, Removal};
use crate::google::drive::world::{DOCUMENT, FOLDER, File, Place, SHORTCUT, Trash};

/// Milliseconds of a time that a request states.
pub(super) fn stated(time: Option<&String>) -> Result<Option<i64>, &'static str> {
    time.map(|text| {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| "invalid time")?;
        Ok(time.timestamp_millis())
    })
    .transpose()
}

impl Transaction<'_> {
    pub(super) fn create(&mut self, params: &ActionParams) -> Outcome {
        let number = self.world.files.len() + 1;
        let (mime_type, name) = if params.folder {
            (FOLDER, format!("Folder {number}"))
        } else if number.is_multiple_of(3) {
            (DOCUMENT, format!("Notes {number}"))
        } else {
            ("text/plain", format!("report-{number}.txt"))
        };
        let mime_type = params.mime_type.as_deref().unwrap_or(mime_type).to_owned();
        let name = params.text.clone().unwrap_or(name);
        self.add(params, &mime_type, name, None)
    }

    /// Creates a shortcut to a file that the actor sees.
    pub(super) fn create_shortcut(&mut self, params: &ActionParams) -> Outcome {
        // The target may be created, so everything else is verified first.
        self.place(params.to.as_deref().unwrap_or("root"))?;
        for time in [&params.created_time, &params.modified_time] {
            stated(time.as_ref())?;
        }
        let target = self.choose_file(&ActionParams {
            action: params.action.clone(),
            file: params.file.clone(),
            ..ActionParams::default()
        })?;
        let file = self.file_mut(&target);
        let (name, mime_type) = (file.name.clone(), file.mime_type.clone());
        self.add(params, SHORTCUT, name, Some((target, mime_type)))
    }

    fn add(
        &mut self,
        params: &ActionParams,
        mime_type: &str,
        name: String,
        target: Option<(String, String)>,
    ) -> Outcome {
        let to = params.to.as_deref().unwrap_or("root");
        let (place, parent) = self.place(to)?;
        let now = self.when.at;
        let created = stated(params.created_time.as_ref())?.unwrap_or(now);
        let modified = stated(params.modified_time.as_ref())?.unwrap_or(created.max(now));
        let id = self.world.id("1", 33);
        let revision = self.world.id("0B", 52);
        self.world.insert(File {
            id: id.clone(),
            name,
            mime_type: mime_type.to_owned(),
            place,
            parent,
            created,
            modified,
            modified_by: self.actor.clone(),
            version: 1,
            revision,
            trash: None,
            access: BTreeMap::new(),
            foreign: Vec::new(),
            starred_by: BTreeSet::new(),
            target,
        });
        self.touch_all(&id);
        Ok(self.file_json(&id))
    }

    pub(super) fn edit(&mut self, params: &ActionParams, id: &str) -> Result<(), &'static str> {
        let modified = stated(params.modified_time.as_ref())?.unwrap_or(self.when.at);
        let (actor, revision) = (self.actor.clone(), self.world.id("0B", 52));
        let file = self.file_mut(id);
        if !file.is_editable() {
            return Err("the file has no content");
        }
        file.modified = modified;
        file.modified_by = actor;
        file.revision = revision;
        self.touch_all(id);
        Ok(())
    }

    pub(super) fn rename(&mut self, params: &ActionParams, id: &str) {
        let name = params.text.clone();
        let file = self.file_mut(id);
        file.name = name.unwrap_or_else(|| format!("{} (renamed)", file.name));
        self.touch_all(id);
    }

    /// Stars a file, which only the actor sees.
    pub(super) fn star(&mut self, id: &str) {
        let actor = self.actor.clone();
        self.file_mut(id).starred_by.insert(actor.clone());
        let file = &self.world.files[id];
        let drive = file.drive().map(str::to_owned);
        self.log(LogOwner::Person(actor.clone()), id, Removal::No, drive);
        self.touched.push((id.to_owned(), BTreeSet::from([actor])));
    }

    /// Puts a file into the trash, and with a folder everything in it.
    pub(super) fn trash(&mut self, id: &str) -> Result<(), &'static str> {
        let is_trashed = |file: &File| file.trash.as_ref().is_some_and(|trash| trash.is_explicit);
        if is_trashed(self.file_mut(id)) {
            return Err("the file is in the trash");
        }
        for file in self.world.subtree(id) {
            let is_explicit = file == id;
            let trash = Trash {
                is_explicit,
                at: self.when.at,
                by: self.actor.clone(),
            };
            let target = self.file_mut(&file);
            // A file in the trash keeps its state when a folder above it follows.
            if is_explicit || target.trash.is_none() {
                target.trash = Some(trash);
            }
            self.touch_all(&file);
        }
        Ok(())
    }

    pub(super) fn untrash(&mut self, id: &str) -> Result<(), &'static str> {
        let trash = self.file_mut(id).trash.take();
        if trash.is_none() {
            return Err("the file is not in the trash");
        }
        for file in self.world.subtree(id) {
            let target = self.file_mut(&file);
            if target
                .trash
                .as_ref()
                .is_some_and(|trash| !trash.is_explicit)
            {
                target.trash = None;
            }
            self.touch_all(&file);
        }
        Ok(())
    }

    /// Deletes a file for good, and with a folder everything in it.
    pub(super) fn delete(&mut self, id: &str) {
        let all = self.world.subtree(id);
        let viewers: Vec<BTreeSet<String>> =
            all.iter().map(|file| self.world.viewers(file)).collect();
        for (file, viewers) in all.iter().zip(viewers) {
            let removed = self.world.remove(file);
            if let Some(Place::Shared(drive)) = removed.map(|file| file.place) {
                let owner = LogOwner::Drive(drive.clone());
                self.log(owner, file, Removal::Gone, Some(drive));
            }
            self.log_file(file, &BTreeSet::new(), &viewers);
        }
    }
}
