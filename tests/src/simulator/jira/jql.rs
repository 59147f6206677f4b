//! The part of JQL that is needed: clauses joined by AND, one order.

use chrono::NaiveDateTime;

use super::world::{Issue, Person, Site};

/// One clause.
enum Clause {
    Projects(Vec<String>),
    Ids(Vec<u64>),
    Keys(Vec<String>),
    From(i64),
    To(i64),
}

/// A question that is understood.
pub(crate) struct Jql {
    clauses: Vec<Clause>,
    pub(crate) descending: bool,
}

impl Jql {
    /// Reads a question; dates without a zone are the person's, to the minute.
    pub(crate) fn parse(text: &str, person: &Person) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (filter, order) = match lower.find("order by") {
            Some(at) => (&text[..at], &lower[at..]),
            None => (text, ""),
        };
        let mut clauses = Vec::new();
        for clause in split_and(filter) {
            clauses.push(read(clause.trim(), person)?);
        }
        if clauses.is_empty() {
            return Err("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.".to_owned());
        }
        Ok(Self {
            clauses,
            descending: order.contains("desc"),
        })
    }

    pub(crate) fn accepts(&self, site: &Site, issue: &Issue) -> bool {
        self.clauses.iter().all(|clause| match clause {
            Clause::Projects(keys) => {
                let project = &site.projects[&issue.project];
                keys.iter()
                    .any(|key| *key == project.key || *key == project.id)
            }
            Clause::Ids(ids) => ids.contains(&issue.id),
            Clause::Keys(keys) => keys.contains(&issue.key),
            Clause::From(at) => issue.updated >= *at,
            Clause::To(at) => issue.updated <= *at,
        })
    }
}

fn split_and(text: &str) -> Vec<&str> {
    let lower = text.to_ascii_lowercase();
    let mut parts = Vec::new();
    let mut start = 0;
    while let Some(at) = lower[start..].find(" and ") {
        parts.push(&text[start..start + at]);
        start += at + 5;
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The values of `X in (a, b)` or `X = a`, without their quotes.
pub(crate) fn values(text: &str) -> Vec<String> {
    text.trim()
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split(',')
        .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        .filter(|value| !value.is_empty())
        .collect()
}

fn read(clause: &str, person: &Person) -> Result<Clause, String> {
    let lower = clause.to_ascii_lowercase();
    let after = |prefix: &str| {
        lower
            .starts_with(prefix)
            .then(|| clause[prefix.len()..].trim())
    };
    for prefix in ["project in", "project ="] {
        if let Some(rest) = after(prefix) {
            return Ok(Clause::Projects(values(rest)));
        }
    }
    for prefix in ["id in", "id ="] {
        if let Some(rest) = after(prefix) {
            let ids = values(rest)
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect();
            return Ok(Clause::Ids(ids));
        }
    }
    for prefix in ["key in", "key =", "issuekey in", "issuekey ="] {
        if let Some(rest) = after(prefix) {
            return Ok(Clause::Keys(values(rest)));
        }
    }
    for (prefix, from, shift) in [
        ("updated >=", true, 0),
        ("updated <=", false, 0),
        ("updated >", true, 1),
        ("updated <", false, -1),
    ] {
        if let Some(rest) = after(prefix) {
            let at = moment(rest, person)? + shift;
            return Ok(if from {
                Clause::From(at)
            } else {
                Clause::To(at)
            });
        }
    }
    Err(format!(
        "Error in the JQL Query: '{clause}' is not understood."
    ))
}

fn moment(text: &str, person: &Person) -> Result<i64, String> {
    let plain = text.trim().trim_matches(['"', '\'']);
    if let Ok(ms) = plain.parse::<i64>() {
        return Ok(ms);
    }
    for (form, whole) in [
        ("%Y-%m-%d %H:%M", plain.to_owned()),
        ("%Y-%m-%d %H:%M", format!("{plain} 00:00")),
    ] {
        if let Ok(local) = NaiveDateTime::parse_from_str(&whole, form) {
            return Ok(local.and_utc().timestamp_millis() - person.zone.0 * 3_600_000);
        }
    }
    Err(format!("Date value '{plain}' is invalid."))
}
