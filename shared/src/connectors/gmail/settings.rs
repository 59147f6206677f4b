//! Settings of the Gmail connector, beside those that Google's products share.
//!
//! Gmail is configured with the OAuth client of the family. Pushes need a Pub/Sub topic, and the
//! service account of the topic's push subscription; without them mailboxes are polled.

use url::Url;

use super::access::MailboxAccess;
use super::{SLUG, descriptor};
use crate::connectors::google::{self, GoogleApp, Quota};
use crate::connectors::settings::{App, AppReader, ProviderSettings, url_below};
use crate::connectors::{ProviderDescriptor, RateLimits};

const TOPIC: &str = "GMAIL_TOPIC";
const SERVICE_ACCOUNT: &str = "GMAIL_PUSH_ACCOUNT";
const AUDIENCE: &str = "GMAIL_PUSH_AUDIENCE";

/// Quotas in units ("Usage limits" of the Gmail API at developers.google.com).
const USER_QUOTA: Quota = Quota {
    setting: "GMAIL_USER_UNITS_PER_MINUTE",
    units: 6_000,
};
const PROJECT_QUOTA: Quota = Quota {
    setting: "GMAIL_UNITS_PER_MINUTE",
    units: 1_200_000,
};

/// Default number of messages that are read at the same time.
///
/// Messages are read one by one; a batch of Google's saves no quota.
const CONCURRENCY: usize = 10;

/// Settings of the Gmail connector.
pub type GmailSettings = ProviderSettings<AppSettings>;

/// Settings of a Google app that reads mailboxes.
#[derive(Debug)]
pub struct AppSettings {
    /// The OAuth client and Google's hosts.
    pub google: GoogleApp,
    /// The access that people are asked for.
    pub access: MailboxAccess,
    /// The Pub/Sub topic of all mailboxes' changes; `None` without pushes.
    pub topic: Option<String>,
    /// The verification of pushes; `None` without pushes.
    pub pushes: Option<PushSettings>,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

/// Settings for the verification of pushes. They hold no secret.
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// Audience that the push subscription is configured with.
    pub audience: String,
    /// Address of the service account that the push subscription authenticates as.
    pub service_account: String,
    /// The URL of Google's public keys.
    pub keys_url: Url,
}

impl PushSettings {
    /// Reads the settings; `None` without the service account of the push subscription.
    pub(super) fn read(reader: &mut AppReader<'_, '_>) -> Option<Self> {
        let keys_url = url_below(&google::api_base(reader), &["oauth2", "v3", "certs"]);
        let audience = reader.defaulted(AUDIENCE);
        let service_account = reader.optional(SERVICE_ACCOUNT)?;
        if !service_account.contains('@') {
            reader.problem(SERVICE_ACCOUNT, "must be the address of a service account");
        }
        // Pub/Sub's default audience is the URL that it pushes to.
        let audience = audience.unwrap_or_else(|| reader.webhook_url(SLUG).into());
        Some(Self {
            audience,
            service_account,
            keys_url,
        })
    }
}

impl App for AppSettings {
    const NAME: &'static str = "Google app";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        RateLimits {
            account_concurrency: reader.within("GMAIL_CONCURRENCY", CONCURRENCY, 1, 20),
            ..google::limits(reader, USER_QUOTA, PROJECT_QUOTA)
        }
    }

    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self> {
        Some(Self {
            google: GoogleApp::read(reader),
            access: MailboxAccess::read(reader),
            topic: topic(reader),
            pushes: PushSettings::read(reader),
            limits,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits, MailboxAccess::Metadata)
    }
}

/// Reads the name of the topic: `projects/{project}/topics/{topic}`.
fn topic(reader: &mut AppReader<'_, '_>) -> Option<String> {
    let topic = reader.defaulted(TOPIC)?;
    let parts: Vec<&str> = topic.split('/').collect();
    let is_topic = matches!(parts[..], ["projects", project, "topics", topic]
        if !project.is_empty() && !topic.is_empty());
    if !is_topic {
        reader.problem(
            TOPIC,
            "must have the form `projects/{project}/topics/{topic}`",
        );
    }
    Some(topic)
}
