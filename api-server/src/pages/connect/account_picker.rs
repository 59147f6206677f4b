//! The page on which a person picks one of the accounts that a grant covers.

use maud::{Markup, html};
use shared::connectors::AccountChoice;
use url::form_urlencoded;

use crate::pages::components::{Text, hidden, name};
use crate::pages::{FormTarget, Page};

/// The number of accounts above which the page has a search field.
const MAX_WITHOUT_SEARCH: usize = 8;
/// The maximum number of accounts on one page.
const PAGE_SIZE: usize = 20;
/// The maximum length of a searched text.
const MAX_SEARCH_CHARS: usize = 100;

/// The values of the page.
pub(crate) struct AccountPickerView<'a> {
    /// The product's name.
    pub(crate) product: &'a str,
    /// The team that asks.
    pub(crate) team: &'a str,
    /// The provider's name.
    pub(crate) provider: &'a str,
    /// All accounts of the grant.
    pub(crate) accounts: &'a [AccountChoice],
    /// The path of the callback.
    pub(crate) action: &'a str,
    /// The state of this page, with which the accounts are searched.
    pub(crate) current_state: &'a str,
    /// The state with which an account is chosen.
    pub(crate) next_state: &'a str,
    /// The searched text, as the browser sent it.
    pub(crate) search: &'a str,
    /// The number of the page, from 1, as the browser sent it.
    pub(crate) number: usize,
    /// The targets of the redirects after the choice.
    pub(crate) form: FormTarget,
}

impl AccountPickerView<'_> {
    /// The page.
    pub(crate) fn page(&self) -> Page {
        let search: String = self.search.trim().chars().take(MAX_SEARCH_CHARS).collect();
        let matching = matching(self.accounts, &search);
        let last = matching.len().div_ceil(PAGE_SIZE).max(1);
        let number = self.number.clamp(1, last);
        let shown = matching
            .iter()
            .skip((number - 1) * PAGE_SIZE)
            .take(PAGE_SIZE);
        let content = html! {
            h1 { "Choose what to connect" }
            p.lead {
                "You have access to " (self.accounts.len()) " accounts at " (self.provider)
                ". Choose the one that the team " (name(self.team)) " may read through "
                (name(self.product)) "."
            }
            @if self.accounts.len() > MAX_WITHOUT_SEARCH { (self.search_form(&search)) }
            @if matching.is_empty() {
                p role="status" { "No account matches “" (Text(&search)) "”." }
                p { a href=(self.link("", 1)) { "Show all accounts" } }
            } @else {
                @if !search.is_empty() {
                    p.muted role="status" { (matching.len()) " of " (self.accounts.len()) " accounts match." }
                }
                form method="get" action=(Text(self.action)) {
                    (hidden("state", self.next_state))
                    ul.choices { @for account in shown { li { (choice(account)) } } }
                }
            }
            @if last > 1 { (self.navigation(&search, number, last)) }
            p.muted { "Only the account that you choose is read. To connect another one, ask for another link." }
        };
        Page {
            title: format!("Choose what to connect at {}", self.provider),
            content,
            form: self.form,
        }
    }

    fn search_form(&self, search: &str) -> Markup {
        html! {
            form.search role="search" method="get" action=(Text(self.action)) {
                (hidden("state", self.current_state))
                label for="search" { "Search by name or address" }
                div {
                    input.field #search type="search" name="search" value=(Text(search))
                        maxlength=(MAX_SEARCH_CHARS) autocomplete="off" spellcheck="false";
                    button.button.second type="submit" { "Search" }
                }
            }
        }
    }

    fn navigation(&self, search: &str, number: usize, last: usize) -> Markup {
        html! {
            nav.pages aria-label="Pages of accounts" {
                @if number > 1 { a.button.second rel="prev" href=(self.link(search, number - 1)) { "Previous" } }
                p { "Page " (number) " of " (last) }
                @if number < last { a.button.second rel="next" href=(self.link(search, number + 1)) { "Next" } }
            }
        }
    }

    /// The address of another page of the list.
    fn link(&self, search: &str, number: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", self.current_state);
        if !search.is_empty() {
            query.append_pair("search", search);
        }
        if number > 1 {
            query.append_pair("page", &number.to_string());
        }
        format!("{}?{}", self.action, query.finish())
    }
}

fn choice(account: &AccountChoice) -> Markup {
    html! {
        button.choice type="submit" name="account" value=(Text(&account.id)) {
            (name(&account.name))
            @if let Some(url) = &account.url { " " span.muted { bdi { (Text(url)) } } }
        }
    }
}

/// The accounts whose name and address contain every word, in their order.
fn matching<'a>(accounts: &'a [AccountChoice], search: &str) -> Vec<&'a AccountChoice> {
    let search = search.to_lowercase();
    let words: Vec<&str> = search.split_whitespace().collect();
    let matches = |account: &&AccountChoice| {
        let url = account.url.as_deref().unwrap_or_default();
        let text = format!("{} {url}", account.name).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    accounts.iter().filter(matches).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(count: usize) -> Vec<AccountChoice> {
        (1..=count)
            .map(|number| AccountChoice {
                id: format!("site-{number}"),
                name: format!("Team {number} <b>'"),
                url: Some(format!("https://team-{number}.example.com")),
            })
            .collect()
    }

    fn text(accounts: &[AccountChoice], search: &str, number: usize) -> String {
        let view = AccountPickerView {
            product: "Connectors",
            team: "Acme",
            provider: "Example",
            accounts,
            action: "/v1/connect/example/callback",
            current_state: "now",
            next_state: "next",
            search,
            number,
            form: FormTarget::Https,
        };
        view.page().content.into_string()
    }

    fn buttons(text: &str) -> Vec<&str> {
        let values = text.split(" name=\"account\" value=\"").skip(1);
        values.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn accounts_are_escaped_buttons_of_one_form() {
        let text = text(&accounts(2), "", 1);
        assert_eq!(buttons(&text), ["site-1", "site-2"]);
        assert_eq!(text.matches("<form").count(), 1, "{text}");
        assert!(
            text.contains("Team 1 &lt;b&gt;&#39;") && !text.contains("<b>'"),
            "{text}"
        );
        assert!(text.contains("name=\"state\" value=\"next\""), "{text}");
    }

    #[test]
    fn long_lists_have_search_and_pages() {
        let many = accounts(45);
        let first = text(&many, "", 1);
        assert!(
            first.contains("role=\"search\"") && first.contains("Page 1 of 3"),
            "{first}"
        );
        assert_eq!(buttons(&first).len(), PAGE_SIZE);
        let third = text(&many, "", 3);
        assert_eq!(buttons(&third).first(), Some(&"site-41"));
        assert!(
            !third.contains("Next") && third.contains("Previous"),
            "{third}"
        );
        assert_eq!(text(&many, "", 99), third, "the last page");
        assert_eq!(text(&many, "", 0), first);
    }

    #[test]
    fn search_matches_every_word_in_any_case() {
        let many = accounts(45);
        assert_eq!(buttons(&text(&many, " TEAM-7. https ", 1)), ["site-7"]);
        let none = text(&many, "<script>", 1);
        assert!(
            buttons(&none).is_empty() && !none.contains("<script>"),
            "{none}"
        );
        assert!(none.contains("Show all accounts"), "{none}");
        let some = text(&many, "team 4", 1);
        assert!(some.contains("of 45 accounts match"), "{some}");
    }
}
