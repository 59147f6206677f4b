//! JQL parser.

use chrono::NaiveDateTime;

use super::{Condition, Field, Jql, JqlContext, Node, Order};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// Quoted text, which is not a keyword.
    Text(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 11] = ["!=", "!~", "<=", ">=", "(", ")", ",", "=", "~", "<", ">"];

fn tokenize(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if matches!(first, '"' | '\'') {
            let end = rest[1..]
                .find(first)
                .ok_or("Error in the JQL Query: a quoted value is not terminated.")?;
            tokens.push(Token::Text(rest[1..=end].to_owned()));
            rest = &rest[end + 2..];
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "()=!<>~,\"'".contains(c))
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(format!(
                    "Error in the JQL Query: '{first}' is not expected."
                ));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// Parses a query.
pub(super) fn parse_query(text: &str, context: &JqlContext<'_>) -> Result<Jql, String> {
    let mut parser = Parser {
        tokens: tokenize(text)?,
        next: 0,
        context,
    };
    let filter = if parser.tokens.is_empty() || parser.is_keyword("order") {
        None
    } else {
        Some(parser.parse_disjunction()?)
    };
    let (order, descending) = parser.parse_order()?;
    if parser.next < parser.tokens.len() {
        return Err(parser.unexpected_token());
    }
    let filter = filter.ok_or(
        "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.",
    )?;
    Ok(Jql {
        filter,
        order,
        descending,
    })
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    context: &'a JqlContext<'a>,
}

impl Parser<'_> {
    fn is_keyword(&self, keyword: &str) -> bool {
        let next = self.tokens.get(self.next);
        matches!(next, Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword))
    }

    /// Consumes a keyword, if it is next.
    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword(keyword);
        self.next += usize::from(found);
        found
    }

    /// Consumes a symbol, if it is next.
    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found =
            matches!(self.tokens.get(self.next), Some(Token::Symbol(next)) if *next == symbol);
        self.next += usize::from(found);
        found
    }

    fn unexpected_token(&self) -> String {
        match self.tokens.get(self.next) {
            Some(Token::Word(text) | Token::Text(text)) => {
                format!("Error in the JQL Query: '{text}' is not expected.")
            }
            Some(Token::Symbol(text)) => {
                format!("Error in the JQL Query: '{text}' is not expected.")
            }
            None => "Error in the JQL Query: unexpected end of the query.".to_owned(),
        }
    }

    fn parse_disjunction(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.parse_conjunction()?];
        while self.take_keyword("or") {
            nodes.push(self.parse_conjunction()?);
        }
        Ok(Node::Any(nodes))
    }

    fn parse_conjunction(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.parse_clause()?];
        while self.take_keyword("and") {
            nodes.push(self.parse_clause()?);
        }
        Ok(Node::All(nodes))
    }

    fn parse_clause(&mut self) -> Result<Node, String> {
        if self.take_keyword("not") {
            return Ok(Node::Not(Box::new(self.parse_clause()?)));
        }
        if self.take_symbol("(") {
            let node = self.parse_disjunction()?;
            return if self.take_symbol(")") {
                Ok(node)
            } else {
                Err(self.unexpected_token())
            };
        }
        let name = self.parse_value()?;
        let field = parse_field(&name).ok_or_else(|| {
            format!("Field '{name}' does not exist or you do not have permission to view it.")
        })?;
        Ok(Node::Condition(field, self.parse_condition(field, &name)?))
    }

    fn parse_value(&mut self) -> Result<String, String> {
        match self.tokens.get(self.next).cloned() {
            Some(Token::Word(text) | Token::Text(text)) => {
                self.next += 1;
                // A function name is followed by parentheses.
                let is_function = self.take_symbol("(");
                if is_function && !self.take_symbol(")") {
                    return Err(self.unexpected_token());
                }
                if is_function && text.eq_ignore_ascii_case("currentUser") {
                    return Ok(self.context.person.id.clone());
                }
                Ok(text)
            }
            _ => Err(self.unexpected_token()),
        }
    }

    fn parse_values(&mut self) -> Result<Vec<String>, String> {
        if !self.take_symbol("(") {
            return Err(self.unexpected_token());
        }
        let mut values = vec![self.parse_value()?];
        while self.take_symbol(",") {
            values.push(self.parse_value()?);
        }
        if self.take_symbol(")") {
            Ok(values)
        } else {
            Err(self.unexpected_token())
        }
    }

    fn parse_condition(&mut self, field: Field, name: &str) -> Result<Condition, String> {
        if self.take_keyword("is") {
            let negated = self.take_keyword("not");
            return if self.take_keyword("empty") || self.take_keyword("null") {
                Ok(Condition::Empty(!negated))
            } else {
                Err(self.unexpected_token())
            };
        }
        let is_date = matches!(field, Field::Created | Field::Updated);
        if self.take_keyword("in") {
            return Ok(Condition::In(self.parse_values()?, false));
        }
        if self.take_keyword("not") {
            return if self.take_keyword("in") {
                Ok(Condition::In(self.parse_values()?, true))
            } else {
                Err(self.unexpected_token())
            };
        }
        for (symbol, is_lower_bound, shift) in [
            ("<=", false, 0),
            (">=", true, 0),
            ("<", false, -1),
            (">", true, 1),
        ] {
            if is_date && self.take_symbol(symbol) {
                let text = self.parse_value()?;
                let at = parse_timestamp(&text, self.context)? + shift;
                return Ok(if is_lower_bound {
                    Condition::From(at)
                } else {
                    Condition::To(at)
                });
            }
        }
        for (symbol, negated) in [("!=", true), ("=", false)] {
            if !is_date && self.take_symbol(symbol) {
                return Ok(Condition::In(vec![self.parse_value()?], negated));
            }
        }
        for (symbol, negated) in [("!~", true), ("~", false)] {
            if field == Field::Summary && self.take_symbol(symbol) {
                return Ok(Condition::Contains(self.parse_value()?, negated));
            }
        }
        Err(match self.tokens.get(self.next) {
            Some(Token::Symbol(symbol)) => {
                format!("The operator '{symbol}' is not supported by the '{name}' field.")
            }
            _ => self.unexpected_token(),
        })
    }

    /// Parses ORDER BY. Only the first field has an effect.
    fn parse_order(&mut self) -> Result<(Order, bool), String> {
        if !self.take_keyword("order") {
            return Ok((Order::Id, true));
        }
        if !self.take_keyword("by") {
            return Err(self.unexpected_token());
        }
        let mut first = None;
        loop {
            let name = self.parse_value()?;
            let order = match name.to_ascii_lowercase().as_str() {
                "updated" | "updateddate" => Order::Updated,
                "created" | "createddate" => Order::Created,
                "key" | "issuekey" | "id" | "issue" => Order::Id,
                _ => return Err(format!("Not able to sort using field '{name}'.")),
            };
            let descending =
                self.take_keyword("desc") || (!self.take_keyword("asc") && order != Order::Id);
            first.get_or_insert((order, descending));
            if !self.take_symbol(",") {
                break;
            }
        }
        Ok(first.unwrap_or((Order::Id, true)))
    }
}

fn parse_field(name: &str) -> Option<Field> {
    Some(match name.to_ascii_lowercase().as_str() {
        "project" => Field::Project,
        "issue" | "issuekey" | "key" | "id" => Field::Issue,
        "status" => Field::Status,
        "statuscategory" => Field::StatusCategory,
        "assignee" => Field::Assignee,
        "reporter" | "creator" => Field::Reporter,
        "issuetype" | "type" => Field::IssueType,
        "priority" => Field::Priority,
        "summary" | "text" => Field::Summary,
        "created" | "createddate" => Field::Created,
        "updated" | "updateddate" => Field::Updated,
        _ => return None,
    })
}

/// Parses a time in milliseconds: a number, a date in the person's zone, or a relative time.
fn parse_timestamp(text: &str, context: &JqlContext<'_>) -> Result<i64, String> {
    const DAY: i64 = 86_400_000;
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let zone = context.person.zone.0 * 3_600_000;
    if text.eq_ignore_ascii_case("now") {
        return Ok(context.now);
    }
    if text.eq_ignore_ascii_case("startOfDay") {
        return Ok((context.now + zone).div_euclid(DAY) * DAY - zone);
    }
    let relative = || -> Option<i64> {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY,
            "w" => 7 * DAY,
            _ => return None,
        };
        Some(context.now + number.parse::<i64>().ok()? * unit)
    };
    if let Some(at) = relative() {
        return Ok(at);
    }
    let plain = text.replace('/', "-");
    for with_time_of_day in [plain.clone(), format!("{plain} 00:00")] {
        if let Ok(local) = NaiveDateTime::parse_from_str(&with_time_of_day, "%Y-%m-%d %H:%M") {
            return Ok(local.and_utc().timestamp_millis() - zone);
        }
    }
    Err(format!(
        "Date value '{text}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', \
         'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'."
    ))
}
