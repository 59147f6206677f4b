//! Check that Zoho's products share: the OAuth client in each data center.

use super::auth::Zoho;
use super::settings::{Site, secret_setting};
use crate::connectors::app_check::chain;
use crate::connectors::oauth::ClientAnswer;
use crate::connectors::{AppCheckRequest, Finding};

impl Zoho<'_> {
    /// Checks the client at home, in data centers with a secret of their own, and in all others.
    pub(in crate::connectors) async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut accepted = Vec::new();
        let mut rejected = Vec::new();
        for site in &self.app.sites {
            let answers = self.probe_client(site, &request.callback_url).await;
            let problem = answers
                .iter()
                .find(|one| !matches!(one, ClientAnswer::Accepted));
            let is_home = site.data_center == self.app.home;
            match problem {
                None if is_home => findings.push(Finding::ok(
                    "client",
                    format!(
                        "Zoho accepts the OAuth client at home ({})",
                        site.data_center.code()
                    ),
                )),
                None => accepted.push(site.data_center.code()),
                Some(answer) if is_home || site.has_own_secret => {
                    findings.push(failure(site, request, answer));
                }
                Some(_) => rejected.push(site.data_center.code()),
            }
        }
        findings.push(report_others(&accepted, &rejected));
        findings
    }
}

/// A finding about a data center whose client is configured and must work.
fn failure(site: &Site, request: &AppCheckRequest, answer: &ClientAnswer) -> Finding {
    const SUBJECT: &str = "client";
    let code = site.data_center.code();
    match answer {
        ClientAnswer::Unclear(cause) => Finding::failure(
            SUBJECT,
            format!(
                "Zoho's accounts server in {code} gave no usable answer: {}",
                chain(cause)
            ),
            format!(
                "Check this host's way to {} (DNS, firewall, proxy).",
                site.hosts.accounts
            ),
        ),
        ClientAnswer::RejectedRedirect => Finding::failure(
            SUBJECT,
            format!("Zoho knows the client in {code}, which lacks the callback URL"),
            format!(
                "Add {} as Authorized Redirect URI in Zoho's API console.",
                request.callback_url
            ),
        ),
        ClientAnswer::RejectedClient(reason) => Finding::failure(
            SUBJECT,
            format!("Zoho rejects the OAuth client in {code} ({reason})"),
            format!(
                "Copy id and secret of the client from Zoho's API console to POBLYSH_ZOHO_CLIENT_ID \
                 and POBLYSH_ZOHO_CLIENT_SECRET, or POBLYSH_{} where it differs; check \
                 POBLYSH_ZOHO_DATA_CENTER.",
                secret_setting(site.data_center)
            ),
        ),
        ClientAnswer::Accepted => Finding::ok(SUBJECT, format!("accepted in {code}")),
    }
}

/// Reports the data centers whose accounts can connect as well.
fn report_others(accepted: &[&str], rejected: &[&str]) -> Finding {
    const SUBJECT: &str = "data_centers";
    if rejected.is_empty() {
        return Finding::ok(
            SUBJECT,
            format!("the client works in {}", accepted.join(", ")),
        );
    }
    Finding::warning(
        SUBJECT,
        format!("accounts in {} cannot connect", rejected.join(", ")),
        "Enable these data centers for the client in Zoho's API console (Settings → Multi DC), and \
         set POBLYSH_ZOHO_CLIENT_SECRET_… where its secret differs. Without accounts there, no \
         action is needed.",
    )
}
