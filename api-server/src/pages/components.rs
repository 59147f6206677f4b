//! Components of pages: names, icons, buttons and fields.

use std::fmt::Write as _;

use maud::{Escaper, Markup, Render, html};

/// A text of a person, a tenant or a provider, for elements and attributes.
///
/// Control characters and direction marks, which can disguise a name, are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Text<'_> {
    /// The text without disguising characters, not escaped.
    pub(super) fn plain(self) -> String {
        let mut plain = String::with_capacity(self.0.len());
        for character in self.0.chars() {
            match character {
                '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}' => {}
                other if other.is_control() => plain.push(' '),
                other => plain.push(other),
            }
        }
        plain
    }
}

impl Render for Text<'_> {
    fn render_to(&self, buffer: &mut String) {
        for part in self.plain().split_inclusive('\'') {
            let (text, quote) = part
                .strip_suffix('\'')
                .map_or((part, ""), |text| (text, "&#39;"));
            let _infallible = Escaper::new(buffer).write_str(text);
            buffer.push_str(quote);
        }
    }
}

/// A name in bold, isolated from the direction of the text around it.
pub(super) fn name(text: &str) -> Markup {
    html! { bdi { b { (Text(text)) } } }
}

/// The icon of a page's state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Icon {
    Done,
    Waiting,
    Failed,
}

impl Render for Icon {
    fn render_to(&self, buffer: &mut String) {
        let (class, path) = match self {
            Self::Done => ("icon good", "M7 12.5l3.5 3.5L17 9"),
            Self::Waiting => ("icon wait", "M12 6.5V12l3.5 2.5"),
            Self::Failed => ("icon bad", "M12 7v6M12 16.5v.5"),
        };
        html! {
            svg class=(class) viewBox="0 0 24 24" fill="none" stroke="currentColor"
                stroke-width="2" stroke-linecap="round" stroke-linejoin="round"
                aria-hidden="true" focusable="false" {
                circle cx="12" cy="12" r="10" {}
                path d=(path) {}
            }
        }
        .render_to(buffer);
    }
}

/// A hidden field of a form.
pub(crate) fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(Text(value)); }
}

/// A link that looks like a button.
pub(super) fn button_link(href: &str, label: &str) -> Markup {
    html! { a class="button" href=(Text(href)) { (label) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(
            Text("\"><script>alert('1')</script>&")
                .render()
                .into_string(),
            "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"
        );
        let attribute = html! { input value=(Text("\" autofocus onfocus='x'")); };
        assert_eq!(
            attribute.into_string(),
            "<input value=\"&quot; autofocus onfocus=&#39;x&#39;\">"
        );
    }

    #[test]
    fn disguising_characters_are_removed() {
        assert_eq!(
            Text("Acme\u{202e}moc.live\u{200b}\u{0}").plain(),
            "Acmemoc.live "
        );
        assert_eq!(Text("a\u{61c}b\u{2060}c\u{2069}").plain(), "abc");
    }
}
