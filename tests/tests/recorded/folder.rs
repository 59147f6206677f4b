//! The folder of recorded payloads, by its index.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use shared::config::Env;

use crate::report::say;

/// The folder that `POBLYSH_FIXTURES` names.
pub(crate) struct Folder(PathBuf);

/// A file of the folder, as the index describes it.
pub(crate) struct Recorded {
    /// Its path within the folder.
    pub(crate) name: String,
    /// The event that it is of; `-` where it is of none.
    pub(crate) event: String,
    path: PathBuf,
}

impl Folder {
    /// The folder, if there is one here.
    pub(crate) fn open() -> Option<Self> {
        let env = Env::from_process().expect("an environment that can be read");
        let folder = env.get("POBLYSH_FIXTURES").map(PathBuf::from);
        if folder.is_none() {
            say("POBLYSH_FIXTURES is not set: no recorded payload was checked.");
        }
        folder.map(Self)
    }

    /// A provider's files of one kind.
    pub(crate) fn files(&self, provider: &str, kind: &str) -> Vec<Recorded> {
        let index = std::fs::read_to_string(self.0.join("INDEX.tsv")).expect("the index");
        let files: Vec<Recorded> = index
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter(|row| row[0].split('/').next() == Some(provider) && row[1] == kind)
            .map(|row| Recorded {
                name: row[0].to_owned(),
                event: row[2].to_owned(),
                path: self.0.join(row[0]),
            })
            .collect();
        assert!(!files.is_empty(), "the index names a {kind} of {provider}");
        files
    }
}

impl Recorded {
    /// What its name ends with, behind the point.
    pub(crate) fn extension(&self) -> &str {
        let extension = self.path.extension();
        extension.and_then(|text| text.to_str()).unwrap_or_default()
    }

    /// What is in it.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from(std::fs::read(&self.path).expect("a recorded file"))
    }

    /// What is in it, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).expect("JSON")
    }

    /// What is in the file beside it whose name ends otherwise.
    pub(crate) fn beside(&self, ending: &str, other: &str) -> Value {
        self.sibling(ending, other).expect("JSON beside it")
    }

    /// The same, where the file need not be there or hold JSON.
    pub(crate) fn sibling(&self, ending: &str, other: &str) -> Option<Value> {
        let path = self.path.to_string_lossy().replace(ending, other);
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}
