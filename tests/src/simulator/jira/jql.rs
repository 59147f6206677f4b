//! JQL, as far as it is needed: comparisons joined by AND, OR and NOT, and one order.

mod parse;

use super::world::{Issue, Person, STATUSES, Site};

/// What a question may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Project,
    /// By id or by key.
    Issue,
    Status,
    StatusCategory,
    Assignee,
    Reporter,
    IssueType,
    Priority,
    Summary,
    Created,
    Updated,
}

/// A comparison.
#[derive(Debug, Clone)]
enum Test {
    /// One of these values, or none of them.
    In(Vec<String>, bool),
    /// Nothing, or anything.
    Empty(bool),
    /// Text that occurs, or does not.
    Contains(String, bool),
    /// From this millisecond on.
    From(i64),
    /// Up to this millisecond.
    To(i64),
}

#[derive(Debug, Clone)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Field, Test),
}

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Id,
    Created,
    Updated,
}

/// A question that is understood.
#[derive(Debug, Clone)]
pub(crate) struct Jql {
    filter: Node,
    pub(crate) order: Order,
    pub(crate) descending: bool,
}

/// Who asks, and when: dates without a zone are the person's.
pub(crate) struct Asker<'a> {
    pub(crate) person: &'a Person,
    pub(crate) now: i64,
}

/// An issue, as far as questions look at it.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    id: String,
    key: String,
    project: [String; 2],
    status: usize,
    assignee: Option<String>,
    reporter: String,
    summary: String,
    created: i64,
    updated: i64,
}

impl Sight {
    pub(crate) fn of(site: &Site, issue: &Issue) -> Self {
        let project = &site.projects[&issue.project];
        Self {
            id: issue.id.to_string(),
            key: issue.key.clone(),
            project: [project.id.clone(), project.key.clone()],
            status: issue.status,
            assignee: issue.assignee.clone(),
            reporter: issue.creator.clone(),
            summary: issue.summary.clone(),
            created: issue.created,
            updated: issue.updated,
        }
    }

    /// Every name that a field's value goes by.
    fn names(&self, field: Field) -> Vec<&str> {
        let (id, name, category) = STATUSES[self.status % STATUSES.len()];
        match field {
            Field::Project => self.project.iter().map(String::as_str).collect(),
            Field::Issue => vec![&self.id, &self.key],
            Field::Status => vec![id, name],
            Field::StatusCategory => vec![category, category_name(category)],
            Field::Assignee => self.assignee.as_deref().into_iter().collect(),
            Field::Reporter => vec![&self.reporter],
            Field::IssueType => vec!["10004", "Task"],
            Field::Priority => vec!["3", "Medium"],
            Field::Summary => vec![&self.summary],
            Field::Created | Field::Updated => Vec::new(),
        }
    }

    fn moment(&self, field: Field) -> i64 {
        if field == Field::Created {
            self.created
        } else {
            self.updated
        }
    }
}

/// What people call a category of statuses.
pub(crate) fn category_name(key: &str) -> &'static str {
    match key {
        "new" => "To Do",
        "done" => "Done",
        _ => "In Progress",
    }
}

impl Node {
    fn accepts(&self, sight: &Sight) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.accepts(sight)),
            Self::Any(nodes) => nodes.iter().any(|node| node.accepts(sight)),
            Self::Not(node) => !node.accepts(sight),
            Self::Test(field, test) => {
                let names = sight.names(*field);
                match test {
                    Test::In(values, negated) => {
                        let fits = names.iter().any(|name| {
                            values.iter().any(|value| value.eq_ignore_ascii_case(name))
                        });
                        // What is empty is neither equal nor unequal to anything.
                        !names.is_empty() && fits != *negated
                    }
                    Test::Empty(wanted) => names.is_empty() == *wanted,
                    Test::Contains(words, negated) => {
                        let words = words.to_ascii_lowercase();
                        let found = names
                            .iter()
                            .any(|name| name.to_ascii_lowercase().contains(&words));
                        found != *negated
                    }
                    Test::From(at) => sight.moment(*field) >= *at,
                    Test::To(at) => sight.moment(*field) <= *at,
                }
            }
        }
    }

    fn each(
        &self,
        look: &mut impl FnMut(Field, &Test) -> Result<(), String>,
    ) -> Result<(), String> {
        match self {
            Self::All(nodes) | Self::Any(nodes) => {
                nodes.iter().try_for_each(|node| node.each(look))
            }
            Self::Not(node) => node.each(look),
            Self::Test(field, test) => look(*field, test),
        }
    }
}

impl Jql {
    /// Reads a question.
    pub(crate) fn parse(text: &str, asker: &Asker<'_>) -> Result<Self, String> {
        parse::question(text, asker)
    }

    pub(crate) fn accepts(&self, sight: &Sight) -> bool {
        self.filter.accepts(sight)
    }

    /// Whether a webhook may be filtered so: few fields, and only equality.
    pub(crate) fn fits_webhooks(&self) -> Result<(), String> {
        self.filter.each(&mut |field, test| match (field, test) {
            (
                Field::Project
                | Field::Issue
                | Field::Status
                | Field::Assignee
                | Field::Reporter
                | Field::IssueType,
                Test::In(..),
            ) => Ok(()),
            (
                Field::Project
                | Field::Issue
                | Field::Status
                | Field::Assignee
                | Field::Reporter
                | Field::IssueType,
                _,
            ) => Err("The operator of a clause is not supported.".to_owned()),
            _ => Err("The field of a clause is not supported.".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn asker(person: &Person) -> Asker<'_> {
        Asker {
            person,
            now: 1_795_428_000_000,
        }
    }

    fn person(zone: i64) -> Person {
        Person {
            id: "712020:a".to_owned(),
            name: "team dev".to_owned(),
            zone: (zone, "somewhere"),
            sites: Vec::new(),
        }
    }

    fn sight(updated: i64) -> Sight {
        Sight {
            id: "10001".to_owned(),
            key: "ENG-1".to_owned(),
            project: ["10".to_owned(), "ENG".to_owned()],
            status: 1,
            assignee: None,
            reporter: "712020:b".to_owned(),
            summary: "Valve 7 leaks".to_owned(),
            created: 0,
            updated,
        }
    }

    fn answers(text: &str, updated: i64) -> bool {
        let person = person(-7);
        let question = Jql::parse(text, &asker(&person)).unwrap_or_else(|why| panic!("{why}"));
        question.accepts(&sight(updated))
    }

    #[test]
    fn a_date_without_a_zone_is_the_persons() {
        // 10:00 at UTC is 03:00 for somebody at UTC-7.
        let ten = 1_795_428_000_000;
        for (text, accepted) in [
            ("updated >= \"2026-11-23 03:00\"", true),
            ("updated >= '2026/11/23 03:01'", false),
            ("updated >= 1795428000000", true),
            ("updated > 1795428000000", false),
            ("updated >= -1h", true),
            ("updated < now() AND updated >= startOfDay()", false),
            ("updated <= 2026-11-23", false),
        ] {
            assert_eq!(answers(text, ten), accepted, "{text}");
        }
        assert!(answers("updated >= startOfDay()", ten - 2 * HOUR));
        assert!(!answers("updated >= startOfDay()", ten - 4 * HOUR));
    }

    #[test]
    fn clauses_are_joined_as_they_are_written() {
        for (text, accepted) in [
            ("project = eng", true),
            (
                "project in (OPS, \"ENG\") AND status = \"In Progress\"",
                true,
            ),
            ("project not in (ENG)", false),
            ("NOT project = ENG OR key = ENG-1", true),
            ("project = OPS AND (key = ENG-1 OR id = 10001)", false),
            ("assignee is EMPTY and reporter is not empty", true),
            ("assignee != x", false),
            (
                "statusCategory = \"In Progress\" AND summary ~ \"valve\"",
                true,
            ),
            ("issuekey in (ENG-1) order by created desc, key asc", true),
        ] {
            assert_eq!(answers(text, 0), accepted, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_or_has_no_bound_is_refused() {
        let person = person(0);
        for text in [
            "",
            "order by updated",
            "colour = red",
            "project >= ENG",
            "project = ENG AND",
            "project in (ENG",
            "updated >= yesterday",
            "project = ENG key = ENG-1",
        ] {
            assert!(Jql::parse(text, &asker(&person)).is_err(), "{text}");
        }
        let unbounded = Jql::parse("ORDER BY created", &asker(&person));
        assert!(unbounded.is_err_and(|why| why.contains("Unbounded")));
    }

    #[test]
    fn webhooks_are_filtered_by_few_fields_and_equality() {
        let person = person(0);
        let fits = |text: &str| {
            Jql::parse(text, &asker(&person)).and_then(|question| question.fits_webhooks())
        };
        assert_eq!(fits("project in (ENG) AND status != Done"), Ok(()));
        for text in ["updated > 1", "assignee is not EMPTY", "priority = High"] {
            assert!(fits(text).is_err(), "{text}");
        }
    }
}
