//! Reading JQL.

use chrono::NaiveDateTime;

use super::{Asker, Field, Jql, Node, Order, Test};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// In quotes: never a keyword.
    Text(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 11] = ["!=", "!~", "<=", ">=", "(", ")", ",", "=", "~", "<", ">"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if matches!(first, '"' | '\'') {
            let end = rest[1..]
                .find(first)
                .ok_or("The quotes of a value do not end.")?;
            found.push(Token::Text(rest[1..=end].to_owned()));
            rest = &rest[end + 2..];
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            found.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest
                .find(|letter: char| letter.is_whitespace() || "()=!<>~,\"'".contains(letter))
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(format!(
                    "Error in the JQL Query: '{first}' is not expected."
                ));
            }
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

/// Reads a question.
pub(super) fn question(text: &str, asker: &Asker<'_>) -> Result<Jql, String> {
    let mut reader = Reader {
        tokens: tokens(text)?,
        at: 0,
        asker,
    };
    let filter = if reader.tokens.is_empty() || reader.is_word("order") {
        None
    } else {
        Some(reader.any()?)
    };
    let (order, descending) = reader.order()?;
    if reader.at < reader.tokens.len() {
        return Err(reader.surprised());
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

struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    asker: &'a Asker<'a>,
}

impl Reader<'_> {
    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted))
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found = self.is_word(wanted);
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Symbol(one)) if *one == wanted);
        self.at += usize::from(found);
        found
    }

    fn surprised(&self) -> String {
        match self.tokens.get(self.at) {
            Some(Token::Word(text) | Token::Text(text)) => {
                format!("Error in the JQL Query: '{text}' is not expected.")
            }
            Some(Token::Symbol(text)) => {
                format!("Error in the JQL Query: '{text}' is not expected.")
            }
            None => "Error in the JQL Query: it ends too early.".to_owned(),
        }
    }

    fn any(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.all()?];
        while self.word("or") {
            nodes.push(self.all()?);
        }
        Ok(Node::Any(nodes))
    }

    fn all(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.one()?];
        while self.word("and") {
            nodes.push(self.one()?);
        }
        Ok(Node::All(nodes))
    }

    fn one(&mut self) -> Result<Node, String> {
        if self.word("not") {
            return Ok(Node::Not(Box::new(self.one()?)));
        }
        if self.symbol("(") {
            let node = self.any()?;
            return if self.symbol(")") {
                Ok(node)
            } else {
                Err(self.surprised())
            };
        }
        let name = self.value()?;
        let field = field(&name).ok_or_else(|| {
            format!("Field '{name}' does not exist or you do not have permission to view it.")
        })?;
        Ok(Node::Test(field, self.test(field, &name)?))
    }

    fn value(&mut self) -> Result<String, String> {
        match self.tokens.get(self.at).cloned() {
            Some(Token::Word(text) | Token::Text(text)) => {
                self.at += 1;
                // A function has a pair of brackets behind its name.
                let function = self.symbol("(");
                if function && !self.symbol(")") {
                    return Err(self.surprised());
                }
                if function && text.eq_ignore_ascii_case("currentUser") {
                    return Ok(self.asker.person.id.clone());
                }
                Ok(text)
            }
            _ => Err(self.surprised()),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        if !self.symbol("(") {
            return Err(self.surprised());
        }
        let mut all = vec![self.value()?];
        while self.symbol(",") {
            all.push(self.value()?);
        }
        if self.symbol(")") {
            Ok(all)
        } else {
            Err(self.surprised())
        }
    }

    fn test(&mut self, field: Field, name: &str) -> Result<Test, String> {
        if self.word("is") {
            let negated = self.word("not");
            return if self.word("empty") || self.word("null") {
                Ok(Test::Empty(!negated))
            } else {
                Err(self.surprised())
            };
        }
        let dated = matches!(field, Field::Created | Field::Updated);
        if self.word("in") {
            return Ok(Test::In(self.values()?, false));
        }
        if self.word("not") {
            return if self.word("in") {
                Ok(Test::In(self.values()?, true))
            } else {
                Err(self.surprised())
            };
        }
        for (symbol, from, shift) in [
            ("<=", false, 0),
            (">=", true, 0),
            ("<", false, -1),
            (">", true, 1),
        ] {
            if dated && self.symbol(symbol) {
                let text = self.value()?;
                let at = moment(&text, self.asker)? + shift;
                return Ok(if from { Test::From(at) } else { Test::To(at) });
            }
        }
        for (symbol, negated) in [("!=", true), ("=", false)] {
            if !dated && self.symbol(symbol) {
                return Ok(Test::In(vec![self.value()?], negated));
            }
        }
        for (symbol, negated) in [("!~", true), ("~", false)] {
            if field == Field::Summary && self.symbol(symbol) {
                return Ok(Test::Contains(self.value()?, negated));
            }
        }
        Err(match self.tokens.get(self.at) {
            Some(Token::Symbol(symbol)) => {
                format!("The operator '{symbol}' is not supported by the '{name}' field.")
            }
            _ => self.surprised(),
        })
    }

    /// The first field of the order decides; the others are read.
    fn order(&mut self) -> Result<(Order, bool), String> {
        if !self.word("order") {
            return Ok((Order::Id, true));
        }
        if !self.word("by") {
            return Err(self.surprised());
        }
        let mut decided = None;
        loop {
            let name = self.value()?;
            let order = match name.to_ascii_lowercase().as_str() {
                "updated" | "updateddate" => Order::Updated,
                "created" | "createddate" => Order::Created,
                "key" | "issuekey" | "id" | "issue" => Order::Id,
                _ => return Err(format!("Not able to sort using field '{name}'.")),
            };
            let descending = self.word("desc") || (!self.word("asc") && order != Order::Id);
            decided.get_or_insert((order, descending));
            if !self.symbol(",") {
                break;
            }
        }
        Ok(decided.unwrap_or((Order::Id, true)))
    }
}

fn field(name: &str) -> Option<Field> {
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

/// A moment in milliseconds: a number of them, a date of the person's, or a while from now.
fn moment(text: &str, asker: &Asker<'_>) -> Result<i64, String> {
    const DAY: i64 = 86_400_000;
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let zone = asker.person.zone.0 * 3_600_000;
    if text.eq_ignore_ascii_case("now") {
        return Ok(asker.now);
    }
    if text.eq_ignore_ascii_case("startOfDay") {
        return Ok((asker.now + zone).div_euclid(DAY) * DAY - zone);
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
        Some(asker.now + number.parse::<i64>().ok()? * unit)
    };
    if let Some(at) = relative() {
        return Ok(at);
    }
    let plain = text.replace('/', "-");
    for whole in [plain.clone(), format!("{plain} 00:00")] {
        if let Ok(local) = NaiveDateTime::parse_from_str(&whole, "%Y-%m-%d %H:%M") {
            return Ok(local.and_utc().timestamp_millis() - zone);
        }
    }
    Err(format!(
        "Date value '{text}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', \
         'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'."
    ))
}
