//! The folder of recordings and its index.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use shared::config::Env;

use crate::report::print;

/// The folder of the recordings.
pub(crate) struct Folder(PathBuf);

/// A file of the folder with its index entry.
pub(crate) struct Recorded {
    /// Path within the folder.
    pub(crate) name: String,
    /// Event of the payload, or `-`.
    pub(crate) event: String,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder that `POBLYSH_FIXTURES` names; `None` if it is not set.
    pub(crate) fn open() -> Option<Self> {
        let env = Env::from_process().expect("a readable environment");
        let folder = env.get("POBLYSH_FIXTURES").map(PathBuf::from);
        if folder.is_none() {
            print("POBLYSH_FIXTURES is not set: no recording was checked.");
        }
        folder.map(Self)
    }

    /// Files of a provider and kind.
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
        assert!(!files.is_empty(), "the index has no {kind} of {provider}");
        files
    }
}

impl Recorded {
    /// Extension of the file name.
    pub(crate) fn extension(&self) -> &str {
        let extension = self.path.extension();
        extension.and_then(|text| text.to_str()).unwrap_or_default()
    }

    /// Content of the file.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from(std::fs::read(&self.path).expect("a recorded file"))
    }

    /// Content of the file as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).expect("JSON")
    }

    /// JSON content of the sibling file with another ending.
    pub(crate) fn sibling(&self, ending: &str, other: &str) -> Value {
        self.optional_sibling(ending, other).expect("JSON")
    }

    /// JSON content of a sibling file; `None` if it is missing or not JSON.
    pub(crate) fn optional_sibling(&self, ending: &str, other: &str) -> Option<Value> {
        let path = self.path.to_string_lossy().replace(ending, other);
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}
