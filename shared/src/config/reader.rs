//! Takes settings out of an [`Env`] and collects everything that is wrong with them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Env;

/// In front of every variable's name.
const PREFIX: &str = "POBLYSH_";

/// The fewest characters of a secret that a provider or an operator chose.
const MIN_SECRET_CHARACTERS: usize = 16;
/// Why a secret of few characters over and over is refused.
pub(super) const REPETITIVE: &str = "repeats a few characters; use a random value";

/// Whether a secret has so few different characters, or so short a pattern, that it is no
/// random one.
pub(super) fn is_repetitive(secret: &SecretString) -> bool {
    let text = secret.expose_secret().as_bytes();
    let different = text.iter().collect::<std::collections::HashSet<_>>().len();
    let has_pattern =
        (1..=text.len() / 4).any(|length| text[length..] == text[..text.len() - length]);
    different < 6 || has_pattern
}

/// What is wrong with one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's full name.
    pub variable: String,
    /// What is wrong, without the value.
    pub reason: String,
}

impl Problem {
    pub(super) fn new(variable: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
            reason: reason.into(),
        }
    }
}

/// Everything that is wrong with the settings, one line per variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order in which the settings were read.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        for Problem { variable, reason } in &self.problems {
            write!(f, "\n  {variable} {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads settings by their names without the prefix (`"GITHUB_APP_ID"`). What cannot be
/// used is noted and replaced by a stand-in; [`Reader::finish`] then refuses the whole, so
/// a stand-in is never used.
#[derive(Debug)]
pub struct Reader<'a> {
    env: &'a Env,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// A reader that has found no problem yet.
    pub const fn new(env: &'a Env) -> Self {
        Self {
            env,
            problems: Vec::new(),
        }
    }

    /// The environment it reads.
    pub const fn env(&self) -> &'a Env {
        self.env
    }

    /// Notes that this variable (without prefix) cannot be used, and why. The reason must
    /// not quote the value.
    pub fn problem(&mut self, name: &str, why: impl Into<String>) {
        self.problems
            .push(Problem::new(format!("{PREFIX}{name}"), why));
    }

    /// Whether nothing is wrong, or all of what is.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError {
                problems: self.problems,
            })
        }
    }

    /// Whether the variable has a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A text that must be there.
    pub fn required_string(&mut self, name: &str) -> String {
        self.raw(name).map_or_else(
            || {
                self.missing(name);
                String::new()
            },
            ToOwned::to_owned,
        )
    }

    /// A text that may be missing.
    pub fn optional_string(&self, name: &str) -> Option<String> {
        self.raw(name).map(ToOwned::to_owned)
    }

    /// A secret that must be there.
    pub fn required_secret(&mut self, name: &str) -> SecretString {
        self.required_string(name).into()
    }

    /// A secret that may be missing.
    pub fn optional_secret(&self, name: &str) -> Option<SecretString> {
        self.raw(name).map(SecretString::from)
    }

    /// Secrets separated by commas: several while one replaces another, none when missing.
    pub fn optional_secrets(&mut self, name: &str) -> Vec<SecretString> {
        let Some(list) = self.raw(name) else {
            return Vec::new();
        };
        let items: Vec<&str> = list.split(',').map(str::trim).collect();
        if items.iter().any(|item| item.is_empty()) {
            self.problem(name, "has an empty item in its comma-separated list");
        }
        if items
            .iter()
            .enumerate()
            .any(|(at, item)| items[..at].contains(item))
        {
            self.problem(name, "has the same item twice in its comma-separated list");
        }
        items.into_iter().map(SecretString::from).collect()
    }

    /// Secrets of which one may replace the other: none, one or two, each of at least 16
    /// characters.
    pub fn one_or_two_secrets(&mut self, name: &str) -> Vec<SecretString> {
        let secrets = self.optional_secrets(name);
        if secrets.len() > 2 {
            self.problem(name, "may hold two values at most");
        }
        let is_short =
            |secret: &SecretString| secret.expose_secret().chars().count() < MIN_SECRET_CHARACTERS;
        if secrets.iter().any(is_short) {
            self.problem(
                name,
                format!("must have at least {MIN_SECRET_CHARACTERS} characters"),
            );
        } else if secrets.iter().any(is_repetitive) {
            self.problem(name, REPETITIVE);
        }
        secrets
    }

    /// Secrets separated by commas, at least one.
    pub fn required_secrets(&mut self, name: &str) -> Vec<SecretString> {
        let secrets = self.optional_secrets(name);
        if secrets.is_empty() {
            self.missing(name);
        }
        secrets
    }

    /// A value of any type with a text form.
    pub fn parsed<T: FromStr>(&mut self, name: &str, default: T) -> T {
        match self.raw(name).map(str::parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.problem(name, format!("is not {}", expectation::<T>()));
                default
            }
        }
    }

    /// A value between two bounds, both included.
    pub fn within<T>(&mut self, name: &str, default: T, least: T, most: T) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let value = self.parsed(name, default);
        // Not `value < least || value > most`: NaN must not pass.
        if (least..=most).contains(&value) {
            value
        } else {
            self.problem(name, format!("must be between {least} and {most}"));
            default
        }
    }

    /// Where to listen.
    pub fn socket_addr(&mut self, name: &str, default: SocketAddr) -> SocketAddr {
        self.parsed(name, default)
    }

    /// A base URL: http or https, with a host, without credentials, query or fragment.
    ///
    /// # Panics
    /// When `default` is no URL, which is an error of the caller's own code.
    pub fn url(&mut self, name: &str, default: &str) -> Url {
        self.optional_url(name)
            .unwrap_or_else(|| Url::parse(default).expect("a default in the code is a URL"))
    }

    /// A base URL that may be missing; the same rules as [`Reader::url`].
    pub fn optional_url(&mut self, name: &str) -> Option<Url> {
        let text = self.raw(name)?;
        match base_url(text) {
            Ok(url) => Some(url),
            Err(reason) => {
                self.problem(name, reason);
                None
            }
        }
    }

    /// Notes that the variable has no value.
    pub(super) fn missing(&mut self, name: &str) {
        self.problem(name, "is not set");
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.env.get(&format!("{PREFIX}{name}"))
    }
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https:// and name a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain credentials");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a query or a fragment");
    }
    Ok(url)
}

/// What a value of this type looks like, in words for an operator.
fn expectation<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    match name.rsplit("::").next().unwrap_or(name) {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" => "true or false",
        "TrustedProxies" => "addresses or networks with commas between, such as 10.0.0.0/8",
        "SocketAddr" => "an address of the form IP:PORT",
        _ => "of the form it must have",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_by_name_and_without_values() {
        let env = Env::from_pairs([
            ("POBLYSH_COUNT", "many-s3cret"),
            ("POBLYSH_BASE", "https://user:s3cret@example.com"),
            ("POBLYSH_LIST", "s3cret,,x"),
            ("POBLYSH_BIND", "s3cret"),
        ]);
        let mut reader = Reader::new(&env);
        let _ = reader.parsed("COUNT", 1_u32);
        let _ = reader.url("BASE", "https://example.com");
        let _ = reader.optional_secrets("LIST");
        let _ = reader.socket_addr("BIND", ([127, 0, 0, 1], 1).into());
        let _ = reader.required_secret("ABSENT");
        let error = reader.finish().expect_err("five problems").to_string();
        assert_eq!(
            error,
            "the configuration cannot be used:\n  \
             POBLYSH_COUNT is not a whole number of at least 0\n  \
             POBLYSH_BASE must not contain credentials\n  \
             POBLYSH_LIST has an empty item in its comma-separated list\n  \
             POBLYSH_BIND is not an address of the form IP:PORT\n  \
             POBLYSH_ABSENT is not set"
        );
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn defaults_stand_in_for_what_is_missing() {
        let env = Env::default();
        let mut reader = Reader::new(&env);
        assert_eq!(reader.parsed("COUNT", 7_u32), 7);
        assert_eq!(
            reader.url("BASE", "https://api.github.com").as_str(),
            "https://api.github.com/"
        );
        assert_eq!(reader.optional_string("NAME"), None);
        assert!(reader.optional_secrets("LIST").is_empty());
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn two_secrets_are_read_while_rotating() {
        let env = Env::from_pairs([("POBLYSH_LIST", "new , old")]);
        let mut reader = Reader::new(&env);
        let secrets = reader.optional_secrets("LIST");
        let texts: Vec<&str> = secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(texts, ["new", "old"]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn short_and_repetitive_secrets_are_refused() {
        for (value, reason) in [
            ("a-secret", "at least 16 characters"),
            ("a", "at least 16 characters"),
            ("aaaaaaaaaaaaaaaaaaaa", "repeats"),
            ("secretsecretsecretsecret", "repeats"),
            ("0123456789abcdef,short", "at least 16 characters"),
        ] {
            let env = Env::from_pairs([("POBLYSH_S", value)]);
            let mut reader = Reader::new(&env);
            let _ = reader.one_or_two_secrets("S");
            let error = reader.finish().expect_err(value).to_string();
            assert!(error.contains(reason), "{error}");
            assert!(value.len() == 1 || !error.contains(value), "{error}");
        }
        let env = Env::from_pairs([("POBLYSH_S", "0123456789abcdef,It's a Secret to Everybody")]);
        let mut reader = Reader::new(&env);
        assert_eq!(reader.one_or_two_secrets("S").len(), 2);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn the_same_secret_twice_is_a_problem() {
        let env = Env::from_pairs([("POBLYSH_LIST", "one,one")]);
        let mut reader = Reader::new(&env);
        let _ = reader.optional_secrets("LIST");
        assert!(reader.finish().is_err());
    }

    #[test]
    fn urls_that_cannot_be_a_base_are_refused() {
        for bad in [
            "nowhere",
            "ftp://host/",
            "https://h/?q=1",
            "https://h/#f",
            "https://u@h/",
        ] {
            let env = Env::from_pairs([("POBLYSH_BASE", bad)]);
            let mut reader = Reader::new(&env);
            assert_eq!(reader.optional_url("BASE"), None, "{bad}");
            assert!(reader.finish().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_outside_their_bounds_are_refused() {
        for bad in ["0", "11", "NaN", "x"] {
            let env = Env::from_pairs([("POBLYSH_RATE", bad)]);
            let mut reader = Reader::new(&env);
            assert!((reader.within("RATE", 2.0_f64, 0.5, 10.0) - 2.0).abs() < f64::EPSILON);
            assert!(reader.finish().is_err(), "{bad}");
        }
    }
}
