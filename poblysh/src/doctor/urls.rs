//! The public URLs: whether they lead from here to the api-server and the webhook-ingress.

use std::io;
use std::time::Duration;

use reqwest::{Client, StatusCode, redirect};
use serde_json::Value;
use shared::config::{Env, Reader, is_loopback, public_api_url, public_webhook_url};
use shared::connectors::Finding;
use url::Url;

use super::database::chain;
use super::report::Report;

const AREA: &str = "urls";
const API: &str = "api";
const WEBHOOKS: &str = "webhooks";
const TIMEOUT: Duration = Duration::from_secs(10);

/// The beginning of `type` in every problem of the processes.
const PROBLEM: &str = "urn:poblysh:problem:";

/// Requests both URLs.
pub(super) async fn check(env: &Env, report: &mut Report) -> io::Result<()> {
    let mut reader = Reader::new(env);
    let api = public_api_url(&mut reader);
    let webhooks = public_webhook_url(&mut reader);
    let client = Client::builder()
        .user_agent(concat!("poblysh/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .build();
    let (Ok(()), Ok(client)) = (reader.finish(), client) else {
        let finding = Finding::failure(
            API,
            "not checked, because the public URLs are invalid",
            "Correct POBLYSH_PUBLIC_API_URL and POBLYSH_PUBLIC_WEBHOOK_URL first.",
        );
        return report.add(AREA, finding);
    };
    report.add(AREA, check_api(&client, &api).await)?;
    report.add(AREA, check_webhooks(&client, &webhooks).await)
}

async fn check_api(client: &Client, url: &Url) -> Finding {
    let (status, document) = match get(client, url, &["openapi.json"]).await {
        Ok(answer) => answer,
        Err(error) => return unreachable(API, "POBLYSH_PUBLIC_API_URL", url, &error),
    };
    let served = &document["info"];
    let own: Value = serde_json::from_str(&api_server::openapi_json()).unwrap_or_default();
    if status != StatusCode::OK || served["title"] != own["info"]["title"] {
        return another_server(API, "POBLYSH_PUBLIC_API_URL", "api-server", url, status);
    }
    if served["version"] != own["info"]["version"] {
        return Finding::warning(
            API,
            format!(
                "the api-server at {url} is of release {}",
                served["version"]
            ),
            "Use the command of the same release, unless an upgrade is running.",
        );
    }
    reached(API, url, "the api-server")
}

/// The ingress accepts POST only, and says so with a problem of its own.
async fn check_webhooks(client: &Client, url: &Url) -> Finding {
    match get(client, url, &["webhooks", "github"]).await {
        Err(error) => unreachable(WEBHOOKS, "POBLYSH_PUBLIC_WEBHOOK_URL", url, &error),
        Ok((StatusCode::METHOD_NOT_ALLOWED, body))
            if body["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with(PROBLEM)) =>
        {
            reached(WEBHOOKS, url, "the webhook-ingress")
        }
        Ok((status, _)) => {
            let variable = "POBLYSH_PUBLIC_WEBHOOK_URL";
            another_server(WEBHOOKS, variable, "webhook-ingress", url, status)
        }
    }
}

/// The status and the JSON body of a response; null if the body is not JSON.
async fn get(
    client: &Client,
    base: &Url,
    path: &[&str],
) -> Result<(StatusCode, Value), reqwest::Error> {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    let response = client.get(url).send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

fn reached(subject: &'static str, url: &Url, server: &str) -> Finding {
    if is_loopback(url) {
        return Finding::warning(
            subject,
            format!("{url} leads to {server}, and only from this host"),
            "Set the public URL that browsers and providers use, unless all of them run here.",
        );
    }
    Finding::ok(subject, format!("{url} leads to {server}"))
}

fn unreachable(
    subject: &'static str,
    variable: &str,
    url: &Url,
    error: &reqwest::Error,
) -> Finding {
    Finding::failure(
        subject,
        format!("{url} is not reachable from here: {}", chain(error)),
        format!(
            "Start the process, and check DNS, proxy and certificate of {variable}; where only this \
             host cannot reach it, use --skip urls."
        ),
    )
}

fn another_server(
    subject: &'static str,
    variable: &str,
    process: &str,
    url: &Url,
    status: StatusCode,
) -> Finding {
    Finding::failure(
        subject,
        format!("another server than the {process} answers at {url} (status {status})"),
        format!("Let the proxy forward {url} to the {process}, or correct {variable}."),
    )
}
