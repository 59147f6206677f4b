//! A subset of JQL: conditions joined by AND, OR and NOT, and one sort order.

mod parse;

use super::world::{Issue, Person, STATUSES, Site};

/// Field of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Project,
    /// Id or key.
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

/// Condition on a field.
#[derive(Debug, Clone)]
enum Condition {
    /// Equal to one of these values; negated, to none of them.
    In(Vec<String>, bool),
    /// Empty, or not empty.
    Empty(bool),
    /// Contains a text; negated, does not.
    Contains(String, bool),
    /// At or after this time in milliseconds.
    From(i64),
    /// At or before this time in milliseconds.
    To(i64),
}

#[derive(Debug, Clone)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Condition(Field, Condition),
}

/// Sort order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Id,
    Created,
    Updated,
}

/// A parsed query.
#[derive(Debug, Clone)]
pub(crate) struct Jql {
    filter: Node,
    pub(crate) order: Order,
    pub(crate) descending: bool,
}

/// Person and time of a query. Dates without a time zone are in the person's.
pub(crate) struct JqlContext<'a> {
    pub(crate) person: &'a Person,
    pub(crate) now: i64,
}

/// The fields of an issue that queries use.
#[derive(Debug, Clone)]
pub(crate) struct IssueView {
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

impl IssueView {
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

    /// Names and ids of a field's value.
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

    fn timestamp(&self, field: Field) -> i64 {
        if field == Field::Created {
            self.created
        } else {
            self.updated
        }
    }
}

/// Display name of a status category.
pub(crate) fn category_name(key: &str) -> &'static str {
    match key {
        "new" => "To Do",
        "done" => "Done",
        _ => "In Progress",
    }
}

impl Node {
    fn accepts(&self, view: &IssueView) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.accepts(view)),
            Self::Any(nodes) => nodes.iter().any(|node| node.accepts(view)),
            Self::Not(node) => !node.accepts(view),
            Self::Condition(field, test) => {
                let names = view.names(*field);
                match test {
                    Condition::In(values, negated) => {
                        let is_match = names.iter().any(|name| {
                            values
                                .iter()
                                .any(|listed| listed.eq_ignore_ascii_case(name))
                        });
                        // As in Jira, an empty field is neither equal nor unequal to a value.
                        !names.is_empty() && is_match != *negated
                    }
                    Condition::Empty(is_empty) => names.is_empty() == *is_empty,
                    Condition::Contains(phrase, negated) => {
                        let phrase = phrase.to_ascii_lowercase();
                        let found = names
                            .iter()
                            .any(|name| name.to_ascii_lowercase().contains(&phrase));
                        found != *negated
                    }
                    Condition::From(at) => view.timestamp(*field) >= *at,
                    Condition::To(at) => view.timestamp(*field) <= *at,
                }
            }
        }
    }

    fn visit_conditions(
        &self,
        visit: &mut impl FnMut(Field, &Condition) -> Result<(), String>,
    ) -> Result<(), String> {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes
                .iter()
                .try_for_each(|node| node.visit_conditions(visit)),
            Self::Not(node) => node.visit_conditions(visit),
            Self::Condition(field, test) => visit(*field, test),
        }
    }
}

impl Jql {
    /// Parses a query.
    pub(crate) fn parse(text: &str, context: &JqlContext<'_>) -> Result<Self, String> {
        parse::parse_query(text, context)
    }

    pub(crate) fn accepts(&self, view: &IssueView) -> bool {
        self.filter.accepts(view)
    }

    /// Checks that a webhook may have this filter: few fields, and only equality.
    pub(crate) fn check_webhook_filter(&self) -> Result<(), String> {
        self.filter
            .visit_conditions(&mut |field, test| match (field, test) {
                (
                    Field::Project
                    | Field::Issue
                    | Field::Status
                    | Field::Assignee
                    | Field::Reporter
                    | Field::IssueType,
                    Condition::In(..),
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

    fn context(person: &Person) -> JqlContext<'_> {
        JqlContext {
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

    fn view(updated: i64) -> IssueView {
        IssueView {
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

    fn matches_query(text: &str, updated: i64) -> bool {
        let person = person(-7);
        let query = Jql::parse(text, &context(&person)).unwrap_or_else(|reason| panic!("{reason}"));
        query.accepts(&view(updated))
    }

    #[test]
    fn dates_without_zone_are_in_the_persons_zone() {
        // 10:00 in UTC is 03:00 in UTC-7.
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
            assert_eq!(matches_query(text, ten), accepted, "{text}");
        }
        assert!(matches_query("updated >= startOfDay()", ten - 2 * HOUR));
        assert!(!matches_query("updated >= startOfDay()", ten - 4 * HOUR));
    }

    #[test]
    fn and_or_and_not_join_clauses() {
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
            assert_eq!(matches_query(text, 0), accepted, "{text}");
        }
    }

    #[test]
    fn invalid_and_unbounded_queries_are_rejected() {
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
            assert!(Jql::parse(text, &context(&person)).is_err(), "{text}");
        }
        let unbounded = Jql::parse("ORDER BY created", &context(&person));
        assert!(unbounded.is_err_and(|reason| reason.contains("Unbounded")));
    }

    #[test]
    fn webhook_filters_allow_few_fields_and_equality() {
        let person = person(0);
        let check = |text: &str| {
            Jql::parse(text, &context(&person)).and_then(|query| query.check_webhook_filter())
        };
        assert_eq!(check("project in (ENG) AND status != Done"), Ok(()));
        for text in ["updated > 1", "assignee is not EMPTY", "priority = High"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
