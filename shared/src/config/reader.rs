//! The reader of settings, which collects all their problems.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{ConfigError, Env, Problem};

/// The prefix of every variable.
const PREFIX: &str = "POBLYSH_";

/// The shortest secret of a provider or an operator, in characters.
const MIN_SECRET_LENGTH: usize = 16;
/// The problem of a repetitive secret.
pub(super) const REPETITIVE: &str = "repeats a few characters; use a random value";

/// Whether a secret has few different characters or repeats a short pattern.
pub(super) fn is_repetitive(secret: &SecretString) -> bool {
    let text = secret.expose_secret().as_bytes();
    let different = text.iter().collect::<std::collections::HashSet<_>>().len();
    let has_pattern =
        (1..=text.len() / 4).any(|length| text[length..] == text[..text.len() - length]);
    different < 6 || has_pattern
}

/// Reads settings by their names without the prefix (`"GITHUB_APP_ID"`).
///
/// It records an invalid value as a problem and returns a placeholder. [`Reader::finish`] then
/// fails, so a placeholder is never used.
#[derive(Debug)]
pub struct Reader<'a> {
    env: &'a Env,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// A reader without problems.
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

    /// Records a problem of this variable (without prefix), once.
    ///
    /// The reason must not quote the value.
    pub fn problem(&mut self, name: &str, reason: impl Into<String>) {
        let problem = Problem::new(format!("{PREFIX}{name}"), reason);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Succeeds if no problem was found, and returns all problems otherwise.
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

    /// A required text.
    pub fn required_string(&mut self, name: &str) -> String {
        self.raw(name).map_or_else(
            || {
                self.missing(name);
                String::new()
            },
            ToOwned::to_owned,
        )
    }

    /// An optional text.
    pub fn optional_string(&self, name: &str) -> Option<String> {
        self.raw(name).map(ToOwned::to_owned)
    }

    /// A required secret.
    pub fn required_secret(&mut self, name: &str) -> SecretString {
        self.required_string(name).into()
    }

    /// An optional secret.
    pub fn optional_secret(&self, name: &str) -> Option<SecretString> {
        self.raw(name).map(SecretString::from)
    }

    /// Secrets separated by commas: several during a rotation, none if missing.
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

    /// None, one or two secrets (during a rotation), each of at least 16 characters.
    pub fn one_or_two_secrets(&mut self, name: &str) -> Vec<SecretString> {
        let secrets = self.optional_secrets(name);
        if secrets.len() > 2 {
            self.problem(name, "must have at most two values");
        }
        let is_short =
            |secret: &SecretString| secret.expose_secret().chars().count() < MIN_SECRET_LENGTH;
        if secrets.iter().any(is_short) {
            self.problem(
                name,
                format!("must have at least {MIN_SECRET_LENGTH} characters"),
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

    /// A value of any type that parses from text.
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

    /// A value between two inclusive bounds.
    pub fn within<T>(&mut self, name: &str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let value = self.parsed(name, default);
        // Not `value < min || value > max`: NaN must not pass.
        if (min..=max).contains(&value) {
            value
        } else {
            self.problem(name, format!("must be between {min} and {max}"));
            default
        }
    }

    /// A socket address.
    pub fn socket_addr(&mut self, name: &str, default: SocketAddr) -> SocketAddr {
        self.parsed(name, default)
    }

    /// A base URL: http or https, with a host, without credentials, query or fragment.
    ///
    /// # Panics
    /// If `default` is not a URL, which is a bug of the caller.
    pub fn url(&mut self, name: &str, default: &str) -> Url {
        self.optional_url(name)
            .unwrap_or_else(|| Url::parse(default).expect("a default in the code is a URL"))
    }

    /// An optional base URL, with the rules of [`Reader::url`].
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

    /// Records that the variable has no value.
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

/// The description of a type's values for operators.
fn expectation<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    match name.rsplit("::").next().unwrap_or(name) {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" => "true or false",
        "TrustedProxies" => "addresses or networks with commas between, such as 10.0.0.0/8",
        "SocketAddr" => "an address of the form IP:PORT",
        _ => "of the expected form",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_by_name_without_values() {
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
            "invalid configuration:\n  \
             POBLYSH_COUNT is not a whole number of at least 0\n  \
             POBLYSH_BASE must not contain credentials\n  \
             POBLYSH_LIST has an empty item in its comma-separated list\n  \
             POBLYSH_BIND is not an address of the form IP:PORT\n  \
             POBLYSH_ABSENT is not set"
        );
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn variable_that_is_read_twice_has_one_problem() {
        let env = Env::default();
        let mut reader = Reader::new(&env);
        let _ = reader.required_string("ABSENT");
        let _ = reader.required_string("ABSENT");
        assert_eq!(reader.finish().expect_err("a problem").problems.len(), 1);
    }

    #[test]
    fn missing_values_have_defaults() {
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
    fn two_secrets_are_read_during_a_rotation() {
        let env = Env::from_pairs([("POBLYSH_LIST", "new , old")]);
        let mut reader = Reader::new(&env);
        let secrets = reader.optional_secrets("LIST");
        let texts: Vec<&str> = secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(texts, ["new", "old"]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn short_and_repetitive_secrets_are_rejected() {
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
    fn repeated_secret_is_a_problem() {
        let env = Env::from_pairs([("POBLYSH_LIST", "one,one")]);
        let mut reader = Reader::new(&env);
        let _ = reader.optional_secrets("LIST");
        assert!(reader.finish().is_err());
    }

    #[test]
    fn invalid_base_urls_are_rejected() {
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
    fn numbers_outside_their_bounds_are_rejected() {
        for bad in ["0", "11", "NaN", "x"] {
            let env = Env::from_pairs([("POBLYSH_RATE", bad)]);
            let mut reader = Reader::new(&env);
            assert!((reader.within("RATE", 2.0_f64, 0.5, 10.0) - 2.0).abs() < f64::EPSILON);
            assert!(reader.finish().is_err(), "{bad}");
        }
    }
}
