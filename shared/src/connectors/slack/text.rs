//! Conversion of Slack's markup (mrkdwn) to plain text.
//!
//! Ids become names, links become label and address, and entities become characters. Asterisks,
//! underscores and backticks are kept, because people also write them without meaning markup.
//!
//! Source: "Formatting text for app surfaces" at docs.slack.dev.

/// Resolves the references in a text.
pub(super) trait NameResolver {
    /// The name of a user.
    fn user(&self, id: &str) -> Option<String>;
    /// The name of a channel.
    fn channel(&self, id: &str) -> Option<String>;
}

/// Converts a message's markup to plain text.
pub(super) fn to_plain_text(text: &str, resolver: &impl NameResolver) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        // Slack escapes angle brackets that people write, so an unclosed one is not a reference.
        let reference = after
            .split_once('>')
            .filter(|(inner, _)| !inner.is_empty() && !inner.contains(['<', '\n']));
        if let Some((inner, following)) = reference {
            plain.push_str(&resolve(inner, resolver));
            rest = following;
        } else {
            plain.push('<');
            rest = after;
        }
    }
    plain.push_str(rest);
    unescape(&plain)
}

/// Resolves a reference, given without its angle brackets.
fn resolve(inner: &str, resolver: &impl NameResolver) -> String {
    let (target, label) = match inner.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inner, None),
    };
    let prefixed = |sign: char, id: &str, name: Option<String>| {
        let name = name.or_else(|| label.map(str::to_owned));
        format!(
            "{sign}{}",
            name.as_deref().unwrap_or(id).trim_start_matches(sign)
        )
    };
    if let Some(id) = target.strip_prefix('@') {
        return prefixed('@', id, resolver.user(id));
    }
    if let Some(id) = target.strip_prefix('#') {
        return prefixed('#', id, resolver.channel(id));
    }
    if let Some(command) = target.strip_prefix('!') {
        // `!here`, `!subteam^S1|@group`, `!date^1392734382^{date}|a date`.
        let (name, detail) = command.split_once('^').unwrap_or((command, ""));
        return match (name, label) {
            ("date", Some(fallback)) => fallback.to_owned(),
            ("subteam", None) => format!("@{}", detail.split('^').next().unwrap_or_default()),
            (_, Some(label)) => prefixed('@', label, None),
            _ => format!("@{name}"),
        };
    }
    match label {
        Some(label) if !repeats_target(target, label) => format!("{label} ({target})"),
        Some(label) if target.starts_with("mailto:") || target.starts_with("tel:") => {
            label.to_owned()
        }
        _ => target.to_owned(),
    }
}

/// Whether a link's label only repeats its address.
fn repeats_target(target: &str, label: &str) -> bool {
    let bare = |text: &str| {
        let text = ["https://", "http://", "mailto:", "tel:"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    bare(target) == bare(label)
}

/// Resolves Slack's three entities; `&amp;` last, so that none is resolved twice.
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

    impl NameResolver for Known {
        fn user(&self, id: &str) -> Option<String> {
            (id == "U2").then(|| "Bea".to_owned())
        }

        fn channel(&self, id: &str) -> Option<String> {
            (id == "C1").then(|| "general".to_owned())
        }
    }

    #[test]
    fn markup_becomes_plain_text() {
        for (markup, expected) in [
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
            assert_eq!(to_plain_text(markup, &Known), expected, "{markup}");
        }
    }

    proptest! {
        #[test]
        fn text_without_markup_is_unchanged(text in "[^<&]{0,40}") {
            prop_assert_eq!(to_plain_text(&text, &Known), text);
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in "[<>|@#!^&;a-zU0-9 é]{0,40}") {
            to_plain_text(&text, &Known);
        }
    }
}
