//! Layers: dependencies between modules and files point one way, without circles.
//!
//! A file depends on each module that its paths name. Two siblings of a module must not depend on
//! each other, directly or through other siblings. A path through a re-export counts as a path to
//! the module that defines the item; code for tests and documentation does not count. The provider
//! simulator depends on no package of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The crates whose files are checked, by folder.
const CRATES: [&str; 5] = [
    "shared",
    "api-server",
    "webhook-ingress",
    "sync-worker",
    "poblysh",
];

/// The modules of the crate `shared`, from the ground up. A module uses those of lower layers only.
const LAYERS: [&[&str]; 7] = [
    &["clock", "config", "model", "problem"],
    &["crypto", "health", "telemetry"],
    &["http", "server"],
    &["connectors", "db"],
    &["service"],
    &["queue"],
    &["credentials", "inbox", "ratelimit", "signals"],
];

/// A module's path in its crate; empty for the root.
type Module = Vec<String>;

/// The modules of a crate.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Module, Vec<TokenTree>>,
    /// The module that defines an item, by the module that re-exports it and the item's name.
    reexports: BTreeMap<(Module, String), Module>,
}

impl Crate {
    fn read(folder: &Path) -> Self {
        let mut found = Self::default();
        found.read_folder(&folder.join("src"), &[]);
        found.collect_reexports();
        found
    }

    fn read_folder(&mut self, folder: &Path, parent: &[String]) {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        entries.sort();
        for path in entries {
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("UTF-8");
            if name == "tests" || name == "main" {
                continue;
            }
            let mut module = parent.to_vec();
            if path.is_dir() {
                module.push(name.to_owned());
                self.read_folder(&path, &module);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                if name != "mod" && name != "lib" {
                    module.push(name.to_owned());
                }
                self.add(module, &std::fs::read_to_string(&path).expect("a file"));
            }
        }
    }

    fn add(&mut self, module: Module, source: &str) {
        let tokens = TokenStream::from_str(source).expect("Rust");
        let tokens = without_conditional_items(tokens.into_iter().collect());
        self.modules.insert(module, tokens);
    }

    fn collect_reexports(&mut self) {
        for (module, tokens) in &self.modules {
            for path in public_uses(tokens) {
                let Some((name, target)) = path.split_last() else {
                    continue;
                };
                let Some(target) = self.absolute(module, target) else {
                    continue;
                };
                let names = match name.as_str() {
                    "*" => public_items(&self.modules[&target]),
                    name => vec![name.to_owned()],
                };
                for name in names {
                    self.reexports
                        .insert((module.clone(), name), target.clone());
                }
            }
        }
    }

    /// The module of a path without its item, if the whole path is one.
    fn absolute(&self, from: &Module, path: &[String]) -> Option<Module> {
        let mut module = start_of(from, path.first()?);
        let rest = if is_anchor(&path[0]) {
            &path[1..]
        } else {
            path
        };
        for segment in rest {
            match segment.as_str() {
                "super" => drop(module.pop()),
                segment => module.push(segment.to_owned()),
            }
        }
        self.modules.contains_key(&module).then_some(module)
    }

    /// The module that defines the item of a path.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Module> {
        if !is_anchor(&path[0]) {
            return None;
        }
        let mut module = start_of(from, &path[0]);
        for segment in &path[1..] {
            if segment == "super" {
                module.pop();
                continue;
            }
            let mut child = module.clone();
            child.push(segment.clone());
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let mut key = (module.clone(), segment.clone());
            while let Some(target) = self.reexports.get(&key) {
                key.0.clone_from(target);
                module.clone_from(target);
            }
            break;
        }
        Some(module)
    }

    /// The dependencies between siblings, each with one pair of modules that shows it.
    fn sibling_edges(&self) -> BTreeMap<(Module, Module), (Module, Module)> {
        let mut edges = BTreeMap::new();
        for (from, tokens) in &self.modules {
            let mut paths = Vec::new();
            collect_paths(tokens, &mut paths);
            for path in paths {
                let Some(to) = self.resolve(from, &path) else {
                    continue;
                };
                let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if shared == from.len() || shared == to.len() {
                    continue;
                }
                let siblings = (from[..=shared].to_vec(), to[..=shared].to_vec());
                edges.entry(siblings).or_insert((from.clone(), to));
            }
        }
        edges
    }

    /// A circle of siblings, if there is one.
    fn circle(&self) -> Option<String> {
        let edges = self.sibling_edges();
        let mut after: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
        for (from, to) in edges.keys() {
            after.entry(from).or_default().insert(to);
        }
        for ((from, to), (file, target)) in &edges {
            let mut reached = BTreeSet::new();
            let mut left = vec![to];
            while let Some(module) = left.pop() {
                if module == from {
                    return Some(format!(
                        "{} uses {}, which leads back to {}",
                        file.join("::"),
                        target.join("::"),
                        from.join("::")
                    ));
                }
                if reached.insert(module) {
                    left.extend(after.get(module).into_iter().flatten());
                }
            }
        }
        None
    }
}

fn is_anchor(segment: &str) -> bool {
    matches!(segment, "crate" | "self" | "super")
}

fn start_of(from: &Module, anchor: &str) -> Module {
    let mut module = from.clone();
    match anchor {
        "crate" => module.clear(),
        "super" => drop(module.pop()),
        _ => {}
    }
    module
}

fn ident(tree: Option<&TokenTree>) -> Option<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punct(tree: Option<&TokenTree>, character: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

/// Removes items with `#[cfg(test)]` or `#[cfg(doc)]`.
fn without_conditional_items(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut trees = tokens.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let is_conditional = is_punct(Some(&tree), '#')
            && trees.peek().is_some_and(|attribute| {
                let text = attribute.to_string().replace(' ', "");
                text == "[cfg(test)]" || text == "[cfg(doc)]"
            });
        if !is_conditional {
            kept.push(tree);
            continue;
        }
        for tree in trees.by_ref() {
            let is_body = matches!(&tree, TokenTree::Group(group)
                if group.delimiter() == Delimiter::Brace);
            if is_body || is_punct(Some(&tree), ';') {
                break;
            }
        }
    }
    kept
}

/// Collects the paths that begin with `crate`, `self` or `super`.
fn collect_paths(tokens: &[TokenTree], paths: &mut Vec<Vec<String>>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(first)
                if is_anchor(&first.to_string()) && is_path_separator(tokens, at + 1) =>
            {
                at = collect_path(tokens, at, &[], paths);
            }
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect_paths(&inner, paths);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Collects a path, or all paths of a use tree, and returns the position after it.
fn collect_path(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(segment)) => path.push(segment.to_string()),
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => path.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for branch in inner.split(|tree| is_punct(Some(tree), ',')) {
                    if !branch.is_empty() {
                        collect_path(branch, 0, &path, paths);
                    }
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !is_path_separator(tokens, at) {
            break;
        }
        at += 2;
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    paths.push(path);
    at
}

/// The paths of a module's `pub use` items.
fn public_uses(tokens: &[TokenTree]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for at in 0..tokens.len() {
        if ident(tokens.get(at)).as_deref() != Some("pub") {
            continue;
        }
        let mut next = at + 1;
        if matches!(tokens.get(next), Some(TokenTree::Group(_))) {
            next += 1;
        }
        if ident(tokens.get(next)).as_deref() == Some("use") {
            collect_path(tokens, next + 1, &[], &mut paths);
        }
    }
    paths
}

/// The names of a module's public items.
fn public_items(tokens: &[TokenTree]) -> Vec<String> {
    const ITEMS: [&str; 7] = ["struct", "enum", "trait", "type", "fn", "const", "static"];
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        if ident(tokens.get(at)).as_deref() != Some("pub") {
            continue;
        }
        let words: Vec<String> = tokens[at + 1..]
            .iter()
            .take(5)
            .map_while(|tree| ident(Some(tree)))
            .collect();
        let item = words
            .iter()
            .rposition(|word| ITEMS.contains(&word.as_str()));
        names.extend(item.and_then(|item| words.get(item + 1).cloned()));
    }
    names
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

#[test]
fn files_depend_on_each_other_without_circles() {
    for name in CRATES {
        let found = Crate::read(&workspace().join(name));
        assert!(found.modules.len() > 2, "{name}");
        assert!(!found.sibling_edges().is_empty(), "{name}");
        assert_eq!(found.circle(), None, "{name}");
    }
}

#[test]
fn modules_use_lower_layers_only() {
    let found = Crate::read(&workspace().join("shared"));
    let layer = |module: &str| {
        LAYERS
            .iter()
            .position(|layer| layer.contains(&module))
            .unwrap_or_else(|| panic!("{module} has no layer"))
    };
    for ((from, to), (file, target)) in found.sibling_edges() {
        if let ([from], [to]) = (from.as_slice(), to.as_slice()) {
            assert!(
                layer(from) > layer(to),
                "{} uses {}",
                file.join("::"),
                target.join("::")
            );
        }
    }
}

#[test]
fn circle_through_a_reexport_is_found() {
    let mut sample = Crate::default();
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    sample.add(Vec::new(), "mod a; mod b; pub use a::Thing;");
    sample.add(module("a"), "use crate::b::Other; pub struct Thing;");
    sample.add(module("b"), "pub struct Other;");
    sample.collect_reexports();
    assert_eq!(sample.circle(), None);
    sample.add(
        module("b"),
        "pub struct Other; fn make() -> crate::Thing { todo() }",
    );
    assert!(sample.circle().is_some());
    sample.add(
        module("b"),
        "pub struct Other; #[cfg(test)] mod tests { use crate::Thing; }",
    );
    assert_eq!(sample.circle(), None);
}

#[test]
fn simulator_depends_on_no_package_of_the_workspace() {
    let manifest =
        |path: &str| std::fs::read_to_string(workspace().join(path)).expect("a manifest");
    let (root, simulator) = (
        manifest("Cargo.toml"),
        manifest("tests/simulator/Cargo.toml"),
    );
    let packages: Vec<&str> = root
        .lines()
        .filter(|line| line.contains("path = "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(packages.contains(&"shared"), "{packages:?}");
    let (_, dependencies) = simulator
        .split_once("[dependencies]")
        .expect("dependencies");
    let is_name = |character: char| character.is_alphanumeric() || "-_".contains(character);
    for word in dependencies.split(|character| !is_name(character)) {
        let is_own = packages.contains(&word) || word.starts_with("poblysh") || word == "path";
        assert!(!is_own, "{word}");
    }
}
