//! The environment as a value: the process's variables above those of a `.env` file.

use std::collections::BTreeMap;
use std::fmt;

use super::{ConfigError, Problem};

/// The variables a process was started with. Values never show in `Debug`.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
}

impl Env {
    /// Reads the process's variables and, below them, the file `.env` of the working
    /// directory if there is one.
    pub fn from_process() -> Result<Self, ConfigError> {
        let mut variables = BTreeMap::new();
        match dotenvy::from_path_iter(".env") {
            Ok(lines) => {
                for (number, line) in lines.enumerate() {
                    // The error quotes the line, which may hold a secret: only its place
                    // in the file is told.
                    let (name, value) = line.map_err(|_| {
                        ConfigError::from(Problem::new(
                            ".env",
                            format!("assignment {} is not of the form NAME=value", number + 1),
                        ))
                    })?;
                    variables.entry(name).or_insert(value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(_) => return Err(Problem::new(".env", "the file cannot be read").into()),
        }
        variables.extend(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }));
        Ok(Self { variables })
    }

    /// An environment made of these full names and values; the last of a name wins.
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

    /// The value of the variable with this full name, without surrounding blanks. An empty
    /// one counts as missing.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_blank_value_counts_as_missing() {
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
}
