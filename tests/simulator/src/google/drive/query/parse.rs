//! Parser of the search query.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::{Field, Operand, Operator, Query};

/// Nested expressions in a query.
const MAX_DEPTH: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Operator(Operator),
    Open,
    Close,
}

/// Parses a query; `None` if it is malformed.
pub(super) fn parse(text: &str) -> Option<Query> {
    let tokens = tokens(text)?;
    let mut rest = tokens.as_slice();
    let query = or(&mut rest, 0)?;
    rest.is_empty().then_some(query)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.iter().find(|(sign, _)| rest.starts_with(sign));
        rest = if let Some((sign, operator)) = operator {
            tokens.push(Token::Operator(*operator));
            &rest[sign.len()..]
        } else if first == '\'' {
            let (value, after) = quoted(&rest[1..])?;
            tokens.push(Token::Text(value));
            after
        } else if let Some(after) = rest.strip_prefix('(') {
            tokens.push(Token::Open);
            after
        } else if let Some(after) = rest.strip_prefix(')') {
            tokens.push(Token::Close);
            after
        } else if first.is_ascii_alphabetic() {
            let end = rest.find(|one: char| !one.is_ascii_alphanumeric());
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            tokens.push(Token::Word(word.to_owned()));
            after
        } else {
            return None;
        };
        rest = rest.trim_start();
    }
    Some(tokens)
}

/// Text up to the closing quote, and the rest after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, one)) = characters.next() {
        match one {
            '\'' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(one),
        }
    }
    None
}

fn take_word(rest: &mut &[Token], word: &str) -> bool {
    match rest.split_first() {
        Some((Token::Word(found), after)) if found.eq_ignore_ascii_case(word) => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn or(rest: &mut &[Token], depth: usize) -> Option<Query> {
    let mut query = and(rest, depth)?;
    while take_word(rest, "or") {
        query = Query::Or(Box::new(query), Box::new(and(rest, depth)?));
    }
    Some(query)
}

fn and(rest: &mut &[Token], depth: usize) -> Option<Query> {
    let mut query = not(rest, depth)?;
    while take_word(rest, "and") {
        query = Query::And(Box::new(query), Box::new(not(rest, depth)?));
    }
    Some(query)
}

fn not(rest: &mut &[Token], depth: usize) -> Option<Query> {
    if depth > MAX_DEPTH {
        return None;
    }
    if take_word(rest, "not") {
        return Some(Query::Not(Box::new(not(rest, depth + 1)?)));
    }
    if let Some((Token::Open, after)) = rest.split_first() {
        *rest = after;
        let query = or(rest, depth + 1)?;
        let (close, after) = rest.split_first()?;
        *rest = after;
        return (*close == Token::Close).then_some(query);
    }
    condition(rest)
}

fn condition(rest: &mut &[Token]) -> Option<Query> {
    if take_word(rest, "sharedWithMe") {
        return Some(Query::SharedWithMe);
    }
    let (query, after) = match *rest {
        [
            Token::Text(value),
            Token::Word(word),
            Token::Word(list),
            after @ ..,
        ] if word == "in" => {
            let query = match list.as_str() {
                "parents" => Query::InParents(value.clone()),
                "owners" => Query::InOwners(value.clone()),
                _ => return None,
            };
            (query, after)
        }
        [
            Token::Word(name),
            Token::Operator(operator),
            value,
            after @ ..,
        ] => (comparison(name, *operator, value)?, after),
        [Token::Word(name), Token::Word(word), value, after @ ..] if word == "contains" => {
            (comparison(name, Operator::Contains, value)?, after)
        }
        _ => return None,
    };
    *rest = after;
    Some(query)
}

fn comparison(name: &str, operator: Operator, value: &Token) -> Option<Query> {
    let (field, operand) = match (name, value) {
        ("name", Token::Text(text)) => (Field::Name, Operand::Text(text.clone())),
        ("mimeType", Token::Text(text)) => (Field::MimeType, Operand::Text(text.clone())),
        ("createdTime", Token::Text(text)) => (Field::Created, Operand::Time(time(text)?)),
        ("modifiedTime", Token::Text(text)) => (Field::Modified, Operand::Time(time(text)?)),
        ("trashed", value) => (Field::Trashed, flag(value)?),
        ("starred", value) => (Field::Starred, flag(value)?),
        // `sharedWithMe` is also a flag.
        ("sharedWithMe", value) => {
            let is_wanted = flag(value)? == Operand::Flag(operator == Operator::Equal);
            let query = Query::SharedWithMe;
            return Some(if is_wanted {
                query
            } else {
                Query::Not(Box::new(query))
            });
        }
        _ => return None,
    };
    let is_text = matches!(operand, Operand::Text(_));
    (operator != Operator::Contains || is_text).then_some(Query::Compare(field, operator, operand))
}

fn flag(value: &Token) -> Option<Operand> {
    match value {
        Token::Word(word) if word == "true" => Some(Operand::Flag(true)),
        Token::Word(word) if word == "false" => Some(Operand::Flag(false)),
        _ => None,
    }
}

/// Epoch milliseconds of an RFC 3339 time, in UTC without a zone.
fn time(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let day = || {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
    Some(time.or_else(day)?.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_with_precedence_and_quotes_is_parsed() {
        let query = parse("not trashed = true and (name = 'a\\'b' or 'root' in parents)");
        let trashed = Query::Compare(Field::Trashed, Operator::Equal, Operand::Flag(true));
        let name = Operand::Text("a'b".to_owned());
        let name = Query::Compare(Field::Name, Operator::Equal, name);
        let parents = Query::InParents("root".to_owned());
        assert_eq!(
            query,
            Some(Query::And(
                Box::new(Query::Not(Box::new(trashed))),
                Box::new(Query::Or(Box::new(name), Box::new(parents))),
            ))
        );
        let times = "modifiedTime >= '2026-11-01T00:00:00' or createdTime >= '2026-11-01'";
        assert!(parse(times).is_some());
    }

    #[test]
    fn malformed_query_is_rejected() {
        let deep = "(".repeat(10_000);
        for text in [
            "",
            "name = 'a",
            "name =",
            "sharedWithMeTime > '2026-11-01'",
            "trashed = 'true'",
            "(trashed = true",
            "modifiedTime > 'soon'",
            deep.as_str(),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
