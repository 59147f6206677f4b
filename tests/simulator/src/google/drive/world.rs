//! Files, folders and shared drives, and who sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;

use super::facts::KnownFacts;
use super::log::Logs;

pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";
pub(super) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
pub(super) const DOCUMENT: &str = "application/vnd.google-apps.document";

/// Maximum depth of folders.
const MAX_DEPTH: usize = 100;

/// Where a file is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// My Drive of a person.
    MyDrive(String),
    /// A shared drive.
    Shared(String),
}

/// How a file came into the trash.
#[derive(Debug, Clone)]
pub(super) struct Trash {
    /// The file itself was trashed, not a folder above it.
    pub(super) is_explicit: bool,
    /// Epoch milliseconds.
    pub(super) at: i64,
    pub(super) by: String,
}

/// Access that a person was given to a file.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Epoch milliseconds.
    pub(super) shared_at: i64,
    pub(super) shared_by: String,
}

/// A file, folder or shortcut. Times are epoch milliseconds.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) mime_type: String,
    pub(super) place: Place,
    /// Folder, or the root of the place.
    pub(super) parent: String,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) modified_by: String,
    pub(super) version: u64,
    pub(super) revision: String,
    pub(super) trash: Option<Trash>,
    /// People other than the owner; shared drives have members instead.
    pub(super) access: BTreeMap<String, Access>,
    /// Permissions of people outside of the simulated accounts.
    pub(super) foreign: Vec<String>,
    pub(super) starred_by: BTreeSet<String>,
    /// Id and type of a shortcut's target.
    pub(super) target: Option<(String, String)>,
}

impl File {
    pub(super) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }

    /// The file has content that people edit.
    pub(super) fn is_editable(&self) -> bool {
        !self.is_folder() && self.mime_type != SHORTCUT
    }

    /// The file has bytes of its own, unlike Google's documents.
    pub(super) fn has_bytes(&self) -> bool {
        !self.mime_type.starts_with("application/vnd.google-apps.")
    }

    pub(super) fn drive(&self) -> Option<&str> {
        match &self.place {
            Place::MyDrive(_) => None,
            Place::Shared(drive) => Some(drive),
        }
    }

    pub(super) fn owner(&self) -> Option<&str> {
        match &self.place {
            Place::MyDrive(owner) => Some(owner),
            Place::Shared(_) => None,
        }
    }
}

/// A shared drive.
#[derive(Debug, Clone)]
pub(super) struct SharedDrive {
    pub(super) id: String,
    pub(super) name: String,
    /// Epoch milliseconds.
    pub(super) created: i64,
    pub(super) members: BTreeSet<String>,
}

/// All drives with their files, logs and facts.
pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) files: BTreeMap<String, File>,
    pub(super) drives: BTreeMap<String, SharedDrive>,
    /// Files in each folder.
    children: HashMap<String, BTreeSet<String>>,
    /// Files in each place.
    places: HashMap<Place, BTreeSet<String>>,
    /// Files that are shared with each person directly.
    shared_with: HashMap<String, BTreeSet<String>>,
    /// Root folders of people.
    roots: HashMap<String, String>,
    pub(super) logs: Logs,
    pub(super) facts: KnownFacts,
    last_time: i64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            drives: BTreeMap::new(),
            children: HashMap::new(),
            places: HashMap::new(),
            shared_with: HashMap::new(),
            roots: HashMap::new(),
            logs: Logs::default(),
            facts: KnownFacts::default(),
            last_time: i64::MIN,
        }
    }

    pub(super) fn id(&mut self, prefix: &str, length: usize) -> String {
        let rest = Alphanumeric.sample_string(&mut self.rng, length - prefix.len());
        format!("{prefix}{rest}")
    }

    /// A time that is later than all before, at or after the given one.
    pub(super) fn next_time(&mut self, at: i64) -> i64 {
        self.last_time = at.max(self.last_time.saturating_add(1));
        self.last_time
    }

    /// Root folder of a person's My Drive.
    pub(super) fn root(&mut self, sub: &str) -> String {
        if let Some(root) = self.roots.get(sub) {
            return root.clone();
        }
        let root = format!("{}PVA", self.id("0A", 16));
        self.roots.insert(sub.to_owned(), root.clone());
        root
    }

    /// Whether an id is a root folder of one of a person's drives.
    pub(super) fn is_root(&self, id: &str, sub: &str) -> bool {
        self.roots.get(sub).is_some_and(|root| root == id) || self.is_member(sub, id)
    }

    pub(super) fn insert(&mut self, file: File) {
        let siblings = self.children.entry(file.parent.clone()).or_default();
        siblings.insert(file.id.clone());
        let place = self.places.entry(file.place.clone()).or_default();
        place.insert(file.id.clone());
        for sub in file.access.keys() {
            let shared = self.shared_with.entry(sub.clone()).or_default();
            shared.insert(file.id.clone());
        }
        self.files.insert(file.id.clone(), file);
    }

    /// Removes one file for good.
    pub(super) fn remove(&mut self, id: &str) -> Option<File> {
        let file = self.files.remove(id)?;
        let siblings = self.children.get_mut(&file.parent);
        let place = self.places.get_mut(&file.place);
        for ids in siblings.into_iter().chain(place) {
            ids.remove(id);
        }
        for sub in file.access.keys() {
            if let Some(shared) = self.shared_with.get_mut(sub) {
                shared.remove(id);
            }
        }
        Some(file)
    }

    /// Changes a file's place, folder or access.
    pub(super) fn rearrange(&mut self, id: &str, change: impl FnOnce(&mut File)) {
        if let Some(mut file) = self.remove(id) {
            change(&mut file);
            self.insert(file);
        }
    }

    /// A file with everything in it, the file first.
    pub(super) fn subtree(&self, id: &str) -> Vec<String> {
        let mut all = vec![id.to_owned()];
        let mut next = 0;
        while let Some(folder) = all.get(next) {
            let children = self.children.get(folder).into_iter().flatten();
            let children: Vec<String> = children.cloned().collect();
            all.extend(children);
            next += 1;
        }
        all
    }

    /// People who see a file: members of its drive, or the owner and those it is shared with.
    ///
    /// Access to a folder is access to everything in it.
    pub(super) fn viewers(&self, id: &str) -> BTreeSet<String> {
        let mut viewers = BTreeSet::new();
        let mut at = self.files.get(id);
        for _ in 0..MAX_DEPTH {
            let Some(file) = at else { break };
            match &file.place {
                Place::Shared(drive) => {
                    let drive = self.drives.get(drive);
                    return drive.map_or_else(BTreeSet::new, |drive| drive.members.clone());
                }
                Place::MyDrive(owner) => {
                    viewers.insert(owner.clone());
                    viewers.extend(file.access.keys().cloned());
                }
            }
            at = self.files.get(&file.parent);
        }
        viewers
    }

    pub(super) fn sees(&self, sub: &str, id: &str) -> bool {
        self.viewers(id).contains(sub)
    }

    /// Files that a person sees.
    pub(super) fn visible_files(&self, sub: &str) -> Vec<&File> {
        let my_drive = Place::MyDrive(sub.to_owned());
        let drives = self.drives_of(sub);
        let places = drives.map(|drive| Place::Shared(drive.id.clone()));
        let mut ids: BTreeSet<String> = places
            .chain([my_drive])
            .filter_map(|place| self.places.get(&place))
            .flatten()
            .cloned()
            .collect();
        for shared in self.shared_with.get(sub).into_iter().flatten() {
            ids.extend(self.subtree(shared));
        }
        ids.iter().filter_map(|id| self.files.get(id)).collect()
    }

    /// Files of a shared drive.
    pub(super) fn files_of_drive(&self, drive: &str) -> Vec<&File> {
        let ids = self.places.get(&Place::Shared(drive.to_owned()));
        let ids = ids.into_iter().flatten();
        ids.filter_map(|id| self.files.get(id)).collect()
    }

    /// Whether a person is a member of a shared drive.
    pub(super) fn is_member(&self, sub: &str, drive: &str) -> bool {
        let drive = self.drives.get(drive);
        drive.is_some_and(|drive| drive.members.contains(sub))
    }

    /// A random file of a place that is not in the trash.
    pub(super) fn random_file(
        &mut self,
        place: &Place,
        accepts: impl Fn(&File) -> bool,
    ) -> Option<String> {
        let pivot = self.id("1", 33);
        let ids = self.places.get(place)?;
        // Ids are random, so the first one from a random id on is a random file.
        let mut all = ids.range(pivot.clone()..).chain(ids.range(..pivot));
        let found = all.find(|id| {
            let file = self.files.get(*id);
            file.is_some_and(|file| file.trash.is_none() && accepts(file))
        });
        found.cloned()
    }

    /// Shared drives of a person.
    pub(super) fn drives_of<'w>(&'w self, sub: &'w str) -> impl Iterator<Item = &'w SharedDrive> {
        let drives = self.drives.values();
        drives.filter(move |drive| drive.members.contains(sub))
    }
}
