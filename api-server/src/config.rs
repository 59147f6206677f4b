//! The settings of the api-server.

use shared::config::{
    ApiConfig, ConfigError, CryptoConfig, Env, Process, Reader, ServiceConfig, is_loopback,
    public_webhook_url,
};
use shared::connectors::ConnectorSettings;
use url::Url;

use crate::limits::LimitsConfig;
use crate::pages::Brand;

/// The settings of the api-server.
#[derive(Debug)]
pub struct Config {
    pub(crate) service: ServiceConfig,
    pub(crate) api: ApiConfig,
    pub(crate) public_webhook_url: Url,
    pub(crate) crypto: CryptoConfig,
    pub(crate) webhook_crypto: Option<CryptoConfig>,
    pub connectors: ConnectorSettings,
    pub(crate) return_to: ReturnTo,
    pub(crate) brand: Brand,
    pub(crate) poll_interval_seconds: i32,
    pub(crate) approval_days: i32,
    pub(crate) limits: LimitsConfig,
    pub(crate) has_console: bool,
}

impl Config {
    /// Reads all settings; the error names every missing or invalid one.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let service = ServiceConfig::for_process(&mut reader, Process::Api);
        let api = ApiConfig::from_reader(&mut reader);
        let config = Self {
            service,
            public_webhook_url: public_webhook_url(&mut reader),
            crypto: CryptoConfig::from_reader(&mut reader),
            webhook_crypto: CryptoConfig::for_webhook_secrets(&mut reader),
            connectors: ConnectorSettings::from_reader(&mut reader),
            return_to: ReturnTo::from_reader(&mut reader, &api.public_url),
            brand: Brand::from_reader(&mut reader),
            // The same bounds as in `PATCH /v1/connections/{id}`.
            poll_interval_seconds: reader.within("POLL_INTERVAL_SECONDS", 300, 30, 86_400),
            limits: LimitsConfig::from_reader(&mut reader),
            approval_days: reader.within("CONNECT_APPROVAL_DAYS", 7, 1, 90),
            has_console: read_console(&mut reader),
            api,
        };
        reader.finish()?;
        Ok(config)
    }
}

impl AsRef<ServiceConfig> for Config {
    fn as_ref(&self) -> &ServiceConfig {
        &self.service
    }
}

/// Reads `CONSOLE`: `on` serves the console, `off` is the default.
fn read_console(reader: &mut Reader<'_>) -> bool {
    const NAME: &str = "CONSOLE";
    match reader.optional_string(NAME).as_deref() {
        Some("on") => true,
        None | Some("off") => false,
        Some(_) => {
            reader.problem(NAME, "must be on or off");
            false
        }
    }
}

/// The origins to which a connect flow may redirect the browser at its end.
///
/// They are the API's own origin, those in `POBLYSH_RETURN_TO_ORIGINS`, and loopback addresses.
#[derive(Debug, Clone)]
pub(crate) struct ReturnTo {
    origins: Vec<url::Origin>,
}

impl ReturnTo {
    fn from_reader(reader: &mut Reader<'_>, public_url: &Url) -> Self {
        const NAME: &str = "RETURN_TO_ORIGINS";
        let mut origins = vec![public_url.origin()];
        let listed = reader.optional_string(NAME).unwrap_or_default();
        for text in listed
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            match Url::parse(text) {
                Ok(url)
                    if url.origin().is_tuple()
                        && matches!(url.scheme(), "http" | "https")
                        && url.path() == "/"
                        && url.query().is_none() =>
                {
                    origins.push(url.origin());
                }
                _ => reader.problem(NAME, "must list origins such as https://app.example.com"),
            }
        }
        Self { origins }
    }

    /// Parses a URL; `None` if its origin is not allowed.
    pub(crate) fn accept(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none();
        let is_known = self.origins.contains(&url.origin()) || is_loopback(&url);
        (is_plain && is_known).then_some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn return_to(listed: &str) -> Result<ReturnTo, ConfigError> {
        let env = Env::from_pairs([("POBLYSH_RETURN_TO_ORIGINS", listed)]);
        let mut reader = Reader::new(&env);
        let public = Url::parse("https://connect.example.com/api").expect("a URL");
        let rule = ReturnTo::from_reader(&mut reader, &public);
        reader.finish().map(|()| rule)
    }

    #[test]
    fn only_listed_and_loopback_origins_are_accepted() {
        let rule = return_to("https://app.example.com, http://intranet:8000").expect("valid");
        for good in [
            "https://connect.example.com/done",
            "https://app.example.com/a?b=c#d",
            "http://intranet:8000/",
            "http://127.0.0.1:5000/x",
            "http://[::1]/x",
            "http://localhost:1/",
        ] {
            assert!(rule.accept(good).is_some(), "{good}");
        }
        for bad in [
            "https://evil.example.com/",
            "https://app.example.com.evil.com/",
            "https://app.example.com@evil.com/",
            "https://user@app.example.com/",
            "http://app.example.com/",
            "https://intranet:8000/",
            "http://app.localhost/",
            "javascript:alert(1)",
            "data:text/html,x",
            "//app.example.com/",
            "/done",
            "",
        ] {
            assert!(rule.accept(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn malformed_origins_are_rejected() {
        for bad in [
            "https://app.example.com/path",
            "app.example.com",
            "ftp://app.example.com",
        ] {
            let error = return_to(bad).expect_err("rejected").to_string();
            assert!(error.contains("POBLYSH_RETURN_TO_ORIGINS"), "{error}");
        }
    }
}
