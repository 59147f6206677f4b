//! Zoho's data centers and their hosts.
//!
//! An account lives in one data center, whose hosts alone know its tokens. The hosts are those of
//! this table. They are never built from a suffix, which for Canada would name another company's
//! site, and never taken from a response.
//!
//! Sources: "Multi-DC" at zoho.com (accounts servers and API domains). The hosts of Cliq in Saudi
//! Arabia and the United Kingdom, of Mail in both, and the API domain of the United Kingdom follow
//! the pattern of the others and are not documented there.

use strum::{EnumString, IntoStaticStr, VariantArray};
use url::Url;

use crate::connectors::ConnectorError;
use crate::connectors::error::permanent_error;
use crate::connectors::settings::url_below;
use crate::model::ExternalAccount;

/// Name of the data center in an account's settings.
pub(super) const DATA_CENTER: &str = "data_center";
/// Name of the person's id in an account's settings.
pub(super) const ZUID: &str = "zuid";

/// A data center.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum DataCenter {
    /// The United States.
    Us,
    /// The European Union.
    Eu,
    /// India.
    In,
    /// Australia.
    Au,
    /// Japan.
    Jp,
    /// Canada.
    Ca,
    /// Saudi Arabia.
    Sa,
    /// The United Kingdom.
    Uk,
    /// China.
    Cn,
}

/// Base URLs of a data center.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// OAuth, and the identity of a person.
    pub accounts: Url,
    /// The domain that token responses name. No call is made to it.
    pub api: Url,
    /// The API of Cliq.
    pub cliq: Url,
    /// The API of Mail.
    pub mail: Url,
}

impl DataCenter {
    /// Zoho's code, as in `location`.
    pub fn code(self) -> &'static str {
        self.into()
    }

    /// The data center with this code.
    pub fn parse(code: &str) -> Option<Self> {
        code.parse().ok()
    }

    /// The data center that an account's settings name.
    pub(super) fn of(account: &ExternalAccount) -> Result<Self, ConnectorError> {
        let code = account.settings[DATA_CENTER].as_str();
        code.and_then(Self::parse)
            .ok_or_else(|| permanent_error("the account names no data center"))
    }

    /// The names of the hosts: of accounts, of the API domain, of Cliq and of Mail.
    const fn host_names(self) -> [&'static str; 4] {
        match self {
            Self::Us => [
                "accounts.zoho.com",
                "www.zohoapis.com",
                "cliq.zoho.com",
                "mail.zoho.com",
            ],
            Self::Eu => [
                "accounts.zoho.eu",
                "www.zohoapis.eu",
                "cliq.zoho.eu",
                "mail.zoho.eu",
            ],
            Self::In => [
                "accounts.zoho.in",
                "www.zohoapis.in",
                "cliq.zoho.in",
                "mail.zoho.in",
            ],
            Self::Au => [
                "accounts.zoho.com.au",
                "www.zohoapis.com.au",
                "cliq.zoho.com.au",
                "mail.zoho.com.au",
            ],
            Self::Jp => [
                "accounts.zoho.jp",
                "www.zohoapis.jp",
                "cliq.zoho.jp",
                "mail.zoho.jp",
            ],
            Self::Ca => [
                "accounts.zohocloud.ca",
                "www.zohoapis.ca",
                "cliq.zohocloud.ca",
                "mail.zohocloud.ca",
            ],
            Self::Sa => [
                "accounts.zoho.sa",
                "www.zohoapis.sa",
                "cliq.zoho.sa",
                "mail.zoho.sa",
            ],
            Self::Uk => [
                "accounts.zoho.uk",
                "www.zohoapis.uk",
                "cliq.zoho.uk",
                "mail.zoho.uk",
            ],
            Self::Cn => [
                "accounts.zoho.com.cn",
                "www.zohoapis.com.cn",
                "cliq.zoho.com.cn",
                "mail.zoho.com.cn",
            ],
        }
    }

    /// Zoho's hosts, or with a base URL the one path below it that replaces all of them.
    pub(super) fn hosts(self, base: Option<&Url>) -> Hosts {
        let [accounts, api, cliq, mail] = match base {
            Some(base) => std::array::from_fn(|_| url_below(base, &[self.code()])),
            None => self.host_names().map(|name| {
                let url = Url::parse(&format!("https://{name}"));
                url.expect("the table holds host names")
            }),
        };
        Hosts {
            accounts,
            api,
            cliq,
            mail,
        }
    }
}

/// Whether a text is this URL, but for a slash at its end.
pub(super) fn is_url(text: &str, url: &Url) -> bool {
    Url::parse(text.trim()).is_ok_and(|stated| without_slash(&stated) == without_slash(url))
}

fn without_slash(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// The person's id, as Zoho numbers people within a data center.
pub(in crate::connectors) fn zuid(account: &ExternalAccount) -> Option<&str> {
    account.settings[ZUID].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_from_the_table() {
        for (code, accounts, mail, cliq, api) in [
            (
                "us",
                "accounts.zoho.com",
                "mail.zoho.com",
                "cliq.zoho.com",
                "www.zohoapis.com",
            ),
            (
                "au",
                "accounts.zoho.com.au",
                "mail.zoho.com.au",
                "cliq.zoho.com.au",
                "www.zohoapis.com.au",
            ),
            (
                "ca",
                "accounts.zohocloud.ca",
                "mail.zohocloud.ca",
                "cliq.zohocloud.ca",
                "www.zohoapis.ca",
            ),
            (
                "cn",
                "accounts.zoho.com.cn",
                "mail.zoho.com.cn",
                "cliq.zoho.com.cn",
                "www.zohoapis.com.cn",
            ),
        ] {
            let hosts = DataCenter::parse(code).expect(code).hosts(None);
            let names = [&hosts.accounts, &hosts.mail, &hosts.cliq, &hosts.api]
                .map(|url| url.host_str().expect("a host"));
            assert_eq!(names, [accounts, mail, cliq, api], "{code}");
        }
    }

    #[test]
    fn base_url_replaces_every_host() {
        let base = Url::parse("http://127.0.0.1:7/zoho").expect("a URL");
        for data_center in DataCenter::VARIANTS {
            let hosts = data_center.hosts(Some(&base));
            let expected = format!("http://127.0.0.1:7/zoho/{}", data_center.code());
            for host in [&hosts.accounts, &hosts.api, &hosts.cliq, &hosts.mail] {
                assert_eq!(host.as_str(), expected);
            }
        }
    }

    #[test]
    fn code_is_parsed_in_any_case() {
        for data_center in DataCenter::VARIANTS {
            let code = data_center.code();
            assert_eq!(DataCenter::parse(code), Some(*data_center));
            assert_eq!(DataCenter::parse(&code.to_uppercase()), Some(*data_center));
        }
        for unknown in ["", "com", "us ", "sg", "zoho.com"] {
            assert_eq!(DataCenter::parse(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn url_is_compared_as_a_whole() {
        let url = DataCenter::Eu.hosts(None).accounts;
        for same in ["https://accounts.zoho.eu", "https://ACCOUNTS.zoho.eu:443/"] {
            assert!(is_url(same, &url), "{same}");
        }
        for other in [
            "http://accounts.zoho.eu",
            "https://accounts.zoho.eu.example.com",
            "https://accounts.zoho.eu@example.com",
            "https://user@accounts.zoho.eu",
            "https://accounts.zoho.eu:8443",
            "https://accounts.zoho.eu/oauth",
            "https://accounts.zoho.eu?x",
            "https://accounts.zoho.eu#x",
            "accounts.zoho.eu",
            "",
        ] {
            assert!(!is_url(other, &url), "{other}");
        }
    }
}
