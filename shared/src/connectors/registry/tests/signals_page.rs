//! `docs/signals.md` agrees with the catalogue, the providers' kinds and their golden files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::registry;
use crate::config::Env;
use crate::model::SignalKind;

/// Begins the generated part of the page.
const MARK: &str = "<!-- Generated below this line. -->\n";

/// The dedupe key of one Signal per kind, from the golden files of a provider.
fn example_keys(provider: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = snapshots(&root.join(format!("src/connectors/{provider}/fixtures")));
    let mut keys = BTreeMap::new();
    for file in files {
        let snapshot = std::fs::read_to_string(&file).expect("a snapshot");
        let body = snapshot.splitn(3, "---\n").nth(2).expect("a body");
        let outcome: Value = serde_json::from_str(body).expect("JSON");
        for signal in outcome["signals"].as_array().into_iter().flatten() {
            let text = |name: &str| signal[name].as_str().expect("a text").to_owned();
            keys.entry(text("kind"))
                .or_insert_with(|| text("dedupe_key"));
        }
    }
    keys
}

/// The snapshots below a folder: its own ones first, in order.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of fixtures");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let (mut folders, mut files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "snap")
    });
    files.sort_unstable();
    folders.sort_unstable();
    files.extend(folders.iter().flat_map(|folder| snapshots(folder)));
    files
}

fn row(kind: SignalKind, key: &str) -> String {
    let description = kind.description().replace('|', "\\|");
    format!("| `{}` | {description} | `{key}` |\n", kind.as_str())
}

/// The generated part of the page.
fn render() -> String {
    let registry = registry(&Env::default());
    let mut page = String::new();
    for (provider, _) in registry.iter() {
        let (name, slug) = (provider.display_name, provider.slug);
        let keys = example_keys(slug);
        write!(
            page,
            "\n## {name} (`{slug}`)\n\n\
             | kind | meaning and fields of `normalized` | a `dedupe_key` |\n|---|---|---|\n"
        )
        .expect("written");
        for kind in provider.kinds {
            let key = keys.get(kind.as_str());
            let key = key.unwrap_or_else(|| panic!("{slug} has no golden file of {kind:?}"));
            page.push_str(&row(*kind, key));
        }
    }
    page
}

#[test]
fn signals_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/signals.md");
    let committed = std::fs::read_to_string(path).expect("docs/signals.md");
    let (head, generated) = committed.split_once(MARK).expect("the generated part");
    let current = render();
    if generated != current {
        let new = std::env::temp_dir().join("signals.md");
        std::fs::write(&new, format!("{head}{MARK}{current}")).expect("a file");
        panic!("docs/signals.md is not up to date: copy {}", new.display());
    }
}
