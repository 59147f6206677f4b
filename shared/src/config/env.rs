//! The environment as a value: the process's variables, then those of a `.env` file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::{ConfigError, Problem};

/// The environment variables of a process. `Debug` shows no values.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
}

impl Env {
    /// Reads the process's variables and those of `.env` in the working directory.
    ///
    /// The process's variables take precedence.
    pub fn from_process() -> Result<Self, ConfigError> {
        let mut variables = from_file(Path::new(".env"))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the only reader of the environment"
        )]
        let of_process = std::env::vars_os();
        variables.extend(of_process.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }));
        Ok(Self { variables })
    }

    /// Builds an environment of these full names and values; the last of a name wins.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// The trimmed value of the variable with this full name; an empty one counts as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// The assignments of a file; empty if the file does not exist. The first of a name wins.
fn from_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let problem = |reason: String| Problem::new(path.display().to_string(), reason);
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(BTreeMap::new()),
        Err(_) => return Err(problem("cannot be read".to_owned()).into()),
    };
    let mut variables = BTreeMap::new();
    for (number, line) in lines.enumerate() {
        // The error quotes the line, which may hold a secret, so only its number is reported.
        let (name, value) = line.map_err(|_| {
            problem(format!(
                "is malformed: assignment {} is not of the form NAME=value",
                number + 1
            ))
        })?;
        variables.entry(name).or_insert(value);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_value_counts_as_missing() {
        let env = Env::from_pairs([("A", ""), ("B", "  \n"), ("C", " x ")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get("B"), None);
        assert_eq!(env.get("C"), Some("x"));
        assert_eq!(env.get("D"), None);
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let shown = format!(
            "{:?}",
            Env::from_pairs([("POBLYSH_OPERATOR_TOKEN", "hunter2")])
        );
        assert!(shown.contains("POBLYSH_OPERATOR_TOKEN"));
        assert!(!shown.contains("hunter2"));
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn file_may_have_comments_quotes_and_multiline_values() {
        let file = file("# keys\nA=1\nexport B='two words'\nKEY=\"BEGIN\nEND\"\nA=3\n");
        let variables = from_file(file.path()).expect("valid");
        assert_eq!(variables["A"], "1");
        assert_eq!(variables["B"], "two words");
        assert_eq!(variables["KEY"], "BEGIN\nEND");
    }

    #[test]
    fn error_of_a_malformed_file_quotes_no_line() {
        let file = file("A=1\nthe s3cret line\n");
        let error = from_file(file.path()).expect_err("malformed").to_string();
        assert!(error.contains("assignment 2"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn missing_file_is_empty() {
        assert!(
            from_file(Path::new("/nonexistent/.env"))
                .expect("no file")
                .is_empty()
        );
    }
}
