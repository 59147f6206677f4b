//! Settings that Zoho's products share: the OAuth client and its data centers.

use std::time::Duration;

use strum::VariantArray;

use super::data_center::{DataCenter, Hosts};
use crate::connectors::oauth::OAuthClient;
use crate::connectors::settings::{AppReader, SECONDS_PER_MINUTE};
use crate::connectors::{ConnectorError, RateBudget};
use crate::model::{ExternalAccount, LimitScope};

const HOME: &str = "ZOHO_DATA_CENTER";

/// Time by which a call may be late without a loss of rate: the work between two pages.
const SLACK: Duration = Duration::from_millis(1_500);
/// Maximum difference of the delays of two calls between their admission and their arrival.
const JITTER: Duration = Duration::from_secs(2);

/// An OAuth client of Zoho's API console, and Zoho's data centers.
#[derive(Debug)]
pub struct ZohoApp {
    /// The data center where the client is registered and consents begin.
    pub home: DataCenter,
    /// All data centers.
    pub sites: Vec<Site>,
}

/// The client in a data center.
#[derive(Debug)]
pub struct Site {
    /// The data center.
    pub data_center: DataCenter,
    /// Its hosts.
    pub hosts: Hosts,
    /// The client, with its secrets in this data center.
    pub client: OAuthClient,
    /// Whether the settings have secrets for this data center alone.
    pub has_own_secret: bool,
}

impl ZohoApp {
    /// Reads the settings, which are the same for every product.
    pub(in crate::connectors) fn read(reader: &mut AppReader<'_, '_>) -> Self {
        let OAuthClient { id, secrets } =
            reader.oauth_client("ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET");
        let base = reader.optional_base_url("ZOHO_BASE_URL");
        let mut site = |data_center: DataCenter| {
            let own = reader.optional_secrets(secret_setting(data_center));
            Site {
                data_center,
                has_own_secret: !own.is_empty(),
                hosts: data_center.hosts(base.as_ref()),
                client: OAuthClient {
                    id: id.clone(),
                    secrets: if own.is_empty() { secrets.clone() } else { own },
                },
            }
        };
        Self {
            sites: DataCenter::VARIANTS
                .iter()
                .copied()
                .map(&mut site)
                .collect(),
            home: home(reader),
        }
    }

    /// The client in a data center.
    pub(super) fn site(&self, data_center: DataCenter) -> Result<&Site, ConnectorError> {
        let mut sites = self.sites.iter();
        sites
            .find(|site| site.data_center == data_center)
            .ok_or_else(|| ConnectorError::Permanent("the data center has no hosts".into()))
    }

    /// The client in the data center of an account.
    pub(super) fn site_of(&self, account: &ExternalAccount) -> Result<&Site, ConnectorError> {
        self.site(DataCenter::of(account)?)
    }
}

/// Reads the data center where consents begin.
fn home(reader: &mut AppReader<'_, '_>) -> DataCenter {
    let Some(code) = reader.defaulted(HOME) else {
        return DataCenter::Us;
    };
    DataCenter::parse(&code).unwrap_or_else(|| {
        let codes: Vec<&str> = DataCenter::VARIANTS.iter().map(|one| one.code()).collect();
        reader.problem(HOME, format!("must be one of {}", codes.join(", ")));
        DataCenter::Us
    })
}

/// The setting of the client's secrets in a data center, where they differ from the others.
pub(super) const fn secret_setting(data_center: DataCenter) -> &'static str {
    match data_center {
        DataCenter::Us => "ZOHO_CLIENT_SECRET_US",
        DataCenter::Eu => "ZOHO_CLIENT_SECRET_EU",
        DataCenter::In => "ZOHO_CLIENT_SECRET_IN",
        DataCenter::Au => "ZOHO_CLIENT_SECRET_AU",
        DataCenter::Jp => "ZOHO_CLIENT_SECRET_JP",
        DataCenter::Ca => "ZOHO_CLIENT_SECRET_CA",
        DataCenter::Sa => "ZOHO_CLIENT_SECRET_SA",
        DataCenter::Uk => "ZOHO_CLIENT_SECRET_UK",
        DataCenter::Cn => "ZOHO_CLIENT_SECRET_CN",
    }
}

/// Reads Zoho's limit of calls per minute as a budget of calls.
///
/// A call beyond it locks the API, and Zoho does not say how it counts. So no minute has more calls,
/// by any clock, also if they arrive with different delays: calls are one interval apart, less the
/// slack, and from one to the next but the limit's number a minute and the jitter pass. That uses
/// 94 % of the limit.
pub(in crate::connectors) fn per_minute(
    reader: &mut AppReader<'_, '_>,
    setting: &'static str,
    default: u32,
    scope: LimitScope,
    operations: &'static [&'static str],
) -> RateBudget {
    let calls = f64::from(reader.within(setting, default, 1, 2_000_000_000));
    let window = SECONDS_PER_MINUTE + (SLACK + JITTER).as_secs_f64();
    RateBudget {
        scope,
        operations,
        slack: SLACK,
        ..RateBudget::per_account(calls / window, 1)
    }
}
