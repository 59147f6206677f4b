//! Slack's markup as text for people: names in place of ids, links as both label and address,
//! entities as the characters that they stand for.
//!
//! Source: "Formatting text for app surfaces" at docs.slack.dev. Asterisks, underscores and
//! backticks stay: people write them, and mean by them what they will.

use super::normalize::Scene;

/// What a reference in a text stands for.
pub(super) trait Names {
    /// A person's name.
    fn user(&self, id: &str) -> Option<String>;
    /// A channel's name.
    fn channel(&self, id: &str) -> Option<String>;
}

impl Names for Scene<'_> {
    fn user(&self, id: &str) -> Option<String> {
        self.user_name(id)
    }

    fn channel(&self, id: &str) -> Option<String> {
        self.channel_name(id)
    }
}

/// The plain text of a message.
pub(super) fn plain(text: &str, names: &impl Names) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        // People's own angle brackets are entities, so one without an end is no reference.
        let reference = after
            .split_once('>')
            .filter(|(inner, _)| !inner.is_empty() && !inner.contains(['<', '\n']));
        if let Some((inner, following)) = reference {
            plain.push_str(&resolve(inner, names));
            rest = following;
        } else {
            plain.push('<');
            rest = after;
        }
    }
    plain.push_str(rest);
    unescape(&plain)
}

/// What stands between angle brackets.
fn resolve(inner: &str, names: &impl Names) -> String {
    let (target, label) = match inner.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inner, None),
    };
    let signed = |sign: char, id: &str, name: Option<String>| {
        let name = name.or_else(|| label.map(str::to_owned));
        format!(
            "{sign}{}",
            name.as_deref().unwrap_or(id).trim_start_matches(sign)
        )
    };
    if let Some(id) = target.strip_prefix('@') {
        return signed('@', id, names.user(id));
    }
    if let Some(id) = target.strip_prefix('#') {
        return signed('#', id, names.channel(id));
    }
    if let Some(command) = target.strip_prefix('!') {
        // `!here`, `!subteam^S1|@group`, `!date^1392734382^{date}|a date`.
        let (name, detail) = command.split_once('^').unwrap_or((command, ""));
        return match (name, label) {
            ("date", Some(fallback)) => fallback.to_owned(),
            ("subteam", None) => format!("@{}", detail.split('^').next().unwrap_or_default()),
            (_, Some(label)) => signed('@', label, None),
            _ => format!("@{name}"),
        };
    }
    match label {
        Some(label) if !is_same(target, label) => format!("{label} ({target})"),
        Some(label) if target.starts_with("mailto:") || target.starts_with("tel:") => {
            label.to_owned()
        }
        _ => target.to_owned(),
    }
}

/// Whether a label only repeats its address.
fn is_same(target: &str, label: &str) -> bool {
    let bare = |text: &str| {
        let text = ["https://", "http://", "mailto:", "tel:"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    bare(target) == bare(label)
}

/// The three characters that Slack escapes; the ampersand last, so that nothing is resolved twice.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Known;

    impl Names for Known {
        fn user(&self, id: &str) -> Option<String> {
            (id == "U2").then(|| "Bea".to_owned())
        }

        fn channel(&self, id: &str) -> Option<String> {
            (id == "C1").then(|| "general".to_owned())
        }
    }

    #[test]
    fn markup_reads_as_people_see_it() {
        for (written, read) in [
            ("a &gt; b &amp;&amp; c &lt; d", "a > b && c < d"),
            ("&amp;gt; stays", "&gt; stays"),
            ("<@U2> and <@U9>", "@Bea and @U9"),
            ("<@U9|carl>", "@carl"),
            ("<#C1> <#C9|ops> <#C8>", "#general #ops #C8"),
            ("<!here> <!channel> <!everyone>", "@here @channel @everyone"),
            ("<!subteam^S1|@pumps> <!subteam^S2>", "@pumps @S2"),
            ("<!date^1392734382^{date}|18 Feb 2014>", "18 Feb 2014"),
            ("<https://e.example/x>", "https://e.example/x"),
            (
                "<https://e.example/?a=1&amp;b=2|the page>",
                "the page (https://e.example/?a=1&b=2)",
            ),
            ("<https://e.example|e.example>", "https://e.example"),
            ("<mailto:a@e.example|a@e.example>", "a@e.example"),
            ("no end <@U2", "no end <@U2"),
            ("<> empty", "<> empty"),
            ("*bold* _it_ `code`", "*bold* _it_ `code`"),
        ] {
            assert_eq!(plain(written, &Known), read, "{written}");
        }
    }

    proptest! {
        #[test]
        fn text_without_markup_is_left_alone(text in "[^<&]{0,40}") {
            prop_assert_eq!(plain(&text, &Known), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[<>|@#!^&;a-zU0-9 é]{0,40}") {
            plain(&text, &Known);
        }
    }
}
