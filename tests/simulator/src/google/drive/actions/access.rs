//! Sharing of files, and moves between folders and drives.

use std::collections::BTreeSet;

use super::{ActionParams, Transaction};
use crate::google::drive::log::{LogOwner, Removal};
use crate::google::drive::world::{Access, Place};
use crate::google::people::digits;

impl Transaction<'_> {
    /// Shares a file of the actor's My Drive with a person.
    pub(super) fn share(&mut self, params: &ActionParams, id: &str) -> Result<(), &'static str> {
        let owner = self.file_mut(id).owner().map(str::to_owned);
        if owner.as_ref() != Some(&self.actor) {
            return Err("only the owner shares a file");
        }
        let Some(sub) = self.recipient(params, &self.world.viewers(id))? else {
            let permission = format!("0{}", digits(&mut self.world.rng, 19));
            self.file_mut(id).foreign.push(permission);
            self.touch_all(id);
            return Ok(());
        };
        let access = Access {
            shared_at: self.when.at,
            shared_by: self.actor.clone(),
        };
        self.world.rearrange(id, |file| {
            file.access.insert(sub, access);
        });
        for file in self.world.subtree(id) {
            self.touch_all(&file);
        }
        Ok(())
    }

    /// Fails if the actor cannot share a new file in this folder.
    pub(super) fn verify_share(
        &self,
        params: &ActionParams,
        place: &Place,
        parent: &str,
    ) -> Result<(), &'static str> {
        if *place != Place::MyDrive(self.actor.clone()) {
            return Err("only the owner shares a file");
        }
        let mut viewers = self.world.viewers(parent);
        viewers.insert(self.actor.clone());
        self.recipient(params, &viewers).map(drop)
    }

    /// Chooses the person to share with; `None` is a person outside.
    ///
    /// By default people share with a colleague, and people outside with the account.
    fn recipient(
        &self,
        params: &ActionParams,
        viewers: &BTreeSet<String>,
    ) -> Result<Option<String>, &'static str> {
        let state = self.service.google.state();
        let is_outside = state.people.get(&self.actor).is_none();
        let login = params.with.as_ref();
        let sub = if let Some(login) = login.or(Some(&params.account).filter(|_| is_outside)) {
            match state.people.find(login) {
                Some(person) => person.sub.clone(),
                None => return Ok(None),
            }
        } else {
            let mut colleagues = state.people.colleagues(&self.actor).into_iter();
            let colleague = colleagues.find(|sub| !viewers.contains(sub));
            colleague.ok_or("no colleague is left to share with")?
        };
        if viewers.contains(&sub) {
            return Err("the person has access");
        }
        Ok(Some(sub))
    }

    /// Ends a person's access to a file.
    pub(super) fn unshare(&mut self, params: &ActionParams, id: &str) -> Result<(), &'static str> {
        let all = self.world.subtree(id);
        let before: Vec<BTreeSet<String>> =
            all.iter().map(|file| self.world.viewers(file)).collect();
        let with = if let Some(login) = &params.with {
            let state = self.service.google.state();
            let person = state.people.find(login).ok_or("unknown person")?;
            person.sub.clone()
        } else {
            let first = self.file_mut(id).access.keys().next().cloned();
            first.ok_or("the file is not shared")?
        };
        if !self.file_mut(id).access.contains_key(&with) {
            return Err("the person has no access");
        }
        self.world.rearrange(id, |file| {
            file.access.remove(&with);
        });
        self.log_moved(&all, &before);
        Ok(())
    }

    /// Moves a file with everything in it to another folder or drive.
    pub(super) fn move_file(
        &mut self,
        params: &ActionParams,
        id: &str,
    ) -> Result<(), &'static str> {
        let to = params.to.as_deref().unwrap_or("root");
        let (place, parent) = self.place(to)?;
        let all = self.world.subtree(id);
        if all.contains(&parent) {
            return Err("a folder cannot be moved into itself");
        }
        let before: Vec<BTreeSet<String>> =
            all.iter().map(|file| self.world.viewers(file)).collect();
        self.world.rearrange(id, |file| file.parent = parent);
        let mut left_my_drive = Vec::new();
        for file in &all {
            let old = self.file_mut(file).place.clone();
            if old == place {
                continue;
            }
            self.world.rearrange(file, |file| {
                file.place = place.clone();
                // Members of a shared drive see its files without further access.
                file.access.clear();
                file.foreign.clear();
            });
            match old {
                Place::Shared(drive) => {
                    let owner = LogOwner::Drive(drive.clone());
                    self.log(owner, file, Removal::Moved, Some(drive));
                }
                Place::MyDrive(_) => left_my_drive.push(file),
            }
        }
        self.log_moved(&all, &before);
        for file in left_my_drive {
            let drive = self.file_mut(file).drive().map(str::to_owned);
            for sub in self.world.viewers(file) {
                self.log(LogOwner::Person(sub), file, Removal::Moved, drive.clone());
            }
        }
        Ok(())
    }

    /// Logs a change for those who see files now, and a removal for those who did before.
    fn log_moved(&mut self, files: &[String], before: &[BTreeSet<String>]) {
        for (file, before) in files.iter().zip(before) {
            self.file_mut(file).version += 1;
            let now = self.world.viewers(file);
            let lost = before.difference(&now).cloned().collect();
            self.log_file(file, &now, &lost);
        }
    }
}
