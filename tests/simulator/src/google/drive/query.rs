//! The search query of files.list: conditions on fields, with `and`, `or` and `not`.

mod parse;

use super::world::File;

/// A value of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    Text(String),
    Flag(bool),
    /// Epoch milliseconds.
    Time(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    MimeType,
    Created,
    Modified,
    Trashed,
    Starred,
}

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    All,
    SharedWithMe,
    InParents(String),
    InOwners(String),
    Compare(Field, Operator, Operand),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// A file as a person sees it.
pub(super) struct Candidate<'a> {
    pub(super) file: &'a File,
    /// The person.
    pub(super) sub: &'a str,
    /// Time of the sharing with the person, epoch milliseconds.
    pub(super) shared_with_me: Option<i64>,
    /// Address of the owner.
    pub(super) owner: Option<&'a str>,
    /// Root folder of the person, which the query names `root`.
    pub(super) root: &'a str,
}

impl Query {
    pub(super) fn parse(text: &str) -> Option<Self> {
        parse::parse(text)
    }

    pub(super) fn accepts(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Self::All => true,
            Self::SharedWithMe => candidate.shared_with_me.is_some(),
            Self::InParents(id) => {
                let id = if id == "root" { candidate.root } else { id };
                candidate.file.parent == id
            }
            Self::InOwners(address) => {
                let is_me = address == "me" && candidate.file.owner() == Some(candidate.sub);
                is_me || candidate.owner == Some(address)
            }
            Self::Compare(field, operator, operand) => {
                compare(candidate, *field, *operator, operand)
            }
            Self::Not(inner) => !inner.accepts(candidate),
            Self::And(left, right) => left.accepts(candidate) && right.accepts(candidate),
            Self::Or(left, right) => left.accepts(candidate) || right.accepts(candidate),
        }
    }
}

fn compare(candidate: &Candidate<'_>, field: Field, operator: Operator, operand: &Operand) -> bool {
    let file = candidate.file;
    let text = |value: &str, wanted: &str| match operator {
        Operator::Contains => value.to_lowercase().contains(&wanted.to_lowercase()),
        _ => ordered(value, operator, wanted),
    };
    match (field, operand) {
        (Field::Name, Operand::Text(wanted)) => text(&file.name, wanted),
        (Field::MimeType, Operand::Text(wanted)) => text(&file.mime_type, wanted),
        (Field::Created, Operand::Time(wanted)) => ordered(&file.created, operator, wanted),
        (Field::Modified, Operand::Time(wanted)) => ordered(&file.modified, operator, wanted),
        (Field::Trashed, Operand::Flag(wanted)) => ordered(&file.trash.is_some(), operator, wanted),
        (Field::Starred, Operand::Flag(wanted)) => {
            let is_starred = file.starred_by.contains(candidate.sub);
            ordered(&is_starred, operator, wanted)
        }
        _ => false,
    }
}

fn ordered<T: Ord + ?Sized>(value: &T, operator: Operator, wanted: &T) -> bool {
    match operator {
        Operator::Equal => value == wanted,
        Operator::NotEqual => value != wanted,
        Operator::Less => value < wanted,
        Operator::LessOrEqual => value <= wanted,
        Operator::Greater => value > wanted,
        Operator::GreaterOrEqual => value >= wanted,
        Operator::Contains => false,
    }
}
