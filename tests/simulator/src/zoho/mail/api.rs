//! Requests to the API: token, scope, limit and response.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};

use super::errors::{ApiError, fault_response};
use super::mailbox::{Mailbox, Message};
use super::view::View;
use super::{SOURCE, ZohoMail, render};
use crate::usage::{self, Outcome, ResponseFingerprint};
use crate::zoho::DataCenter;
use crate::zoho::access::token;
use crate::zoho::locks::Limit;
use crate::zoho::tokens::Caller;

const ACCOUNTS: &str = "ZohoMail.accounts.READ";
const FOLDERS: &str = "ZohoMail.folders.READ";
/// Scope of messages, without which no fact is on the API.
pub(super) const MESSAGES: &str = "ZohoMail.messages.READ";

/// Name of the limit in the usage statistics, and of the locked endpoint.
pub(super) const LIMIT: &str = "calls";

/// Time in which calls are counted.
pub(super) const WINDOW_SECONDS: u32 = 60;

/// Part of a message.
#[derive(Debug, Clone, Copy)]
enum Part {
    Details,
    Header,
    Content,
}

/// A resource of the API, with the ids of its path.
#[derive(Debug, Clone, Copy)]
enum Resource<'p> {
    Accounts,
    Account(&'p str),
    Folders(&'p str),
    Folder(&'p str, &'p str),
    View(&'p str),
    Message(&'p str, &'p str, &'p str, Part),
}

impl<'p> Resource<'p> {
    /// The resource of a path below the list of accounts.
    fn parse(parts: &[&'p str]) -> Option<Self> {
        Some(match *parts {
            [] => Self::Accounts,
            [account] => Self::Account(account),
            [account, "folders"] => Self::Folders(account),
            [account, "folders", folder] => Self::Folder(account, folder),
            [account, "messages", "view"] => Self::View(account),
            [account, "folders", folder, "messages", message, part] => {
                let part = match part {
                    "details" => Part::Details,
                    "header" => Part::Header,
                    "content" => Part::Content,
                    _ => return None,
                };
                Self::Message(account, folder, message, part)
            }
            _ => return None,
        })
    }

    const fn scope(self) -> &'static str {
        match self {
            Self::Accounts | Self::Account(_) => ACCOUNTS,
            Self::Folders(_) | Self::Folder(..) => FOLDERS,
            Self::View(_) | Self::Message(..) => MESSAGES,
        }
    }

    const fn account(self) -> Option<&'p str> {
        match self {
            Self::Accounts => None,
            Self::Account(account)
            | Self::Folders(account)
            | Self::Folder(account, _)
            | Self::View(account)
            | Self::Message(account, ..) => Some(account),
        }
    }

    /// Path in the usage statistics.
    const fn route(self) -> &'static str {
        match self {
            Self::Accounts => "GET /api/accounts",
            Self::Account(_) => "GET /api/accounts/{account}",
            Self::Folders(_) => "GET /api/accounts/{account}/folders",
            Self::Folder(..) => "GET /api/accounts/{account}/folders/{folder}",
            Self::View(_) => "GET /api/accounts/{account}/messages/view",
            Self::Message(.., Part::Details) => "GET .../messages/{message}/details",
            Self::Message(.., Part::Header) => "GET .../messages/{message}/header",
            Self::Message(.., Part::Content) => "GET .../messages/{message}/content",
        }
    }
}

pub(super) fn router(service: &Arc<ZohoMail>) -> Router {
    let routes = Router::new()
        .route("/api/accounts", any(respond))
        .route("/api/accounts/{*rest}", any(respond))
        .with_state(Arc::clone(service));
    service.zoho.mount(routes, fault_response)
}

async fn respond(
    State(service): State<Arc<ZohoMail>>,
    data_center: DataCenter,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    match handle(&service, data_center, &method, &uri, &headers) {
        Ok(data) => {
            let status = json!({ "code": 200, "description": "success" });
            Json(json!({ "status": status, "data": data })).into_response()
        }
        Err(error) => error.response(service.settings().errors_with_ok_status),
    }
}

fn handle(
    service: &ZohoMail,
    data_center: DataCenter,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Value, ApiError> {
    let caller = service.zoho.caller(data_center, headers)?;
    let (_, path) = uri.path().split_once("/api/accounts").unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let resource = Resource::parse(&parts).filter(|_| *method == Method::GET);
    let resource = resource.ok_or_else(ApiError::unknown_path)?;
    service.zoho.check_scope(&caller, &[resource.scope()])?;
    let call = Call {
        service,
        caller: &caller,
        resource,
    };
    call.admit()?;
    let query = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let data = call.data(&pairs)?;
    let who = (SOURCE, &caller.login, resource.route());
    let fingerprint = ResponseFingerprint {
        request: usage::hash(&(who, path, query)),
        body: usage::hash_without(&data, &[]),
        token: usage::hash(&token(headers)),
    };
    call.record(Outcome::Charged(1, fingerprint));
    Ok(data)
}

/// An authenticated request.
struct Call<'a> {
    service: &'a ZohoMail,
    caller: &'a Caller,
    resource: Resource<'a>,
}

impl Call<'_> {
    /// Counts the call; beyond the limit and within a lock it is refused.
    fn admit(&self) -> Result<(), ApiError> {
        let settings = self.service.settings().clone();
        let Some(calls) = settings.calls_per_minute else {
            return Ok(());
        };
        let limit = Limit {
            calls,
            window_seconds: i64::from(WINDOW_SECONDS),
            lock_seconds: settings.lock_seconds,
        };
        let key = (SOURCE, self.caller.login.clone(), LIMIT);
        let now = self.service.core.clock.seconds();
        let admitted = self.service.zoho.state().locks.admit(key, limit, now);
        admitted.map_err(|locked| {
            if !locked.is_first {
                self.service.core.stats.count("zoho_mail.calls_in_lock", 1);
            }
            self.record(Outcome::Refused);
            ApiError::locked(settings.limit_status)
        })
    }

    fn record(&self, outcome: Outcome) {
        let used = u64::from(matches!(outcome, Outcome::Charged(..)));
        self.service.core.usage.record(&usage::Request {
            source: SOURCE,
            account: &self.caller.login,
            route: self.resource.route(),
            at: self.service.core.clock.milliseconds(),
            outcome,
            used: &[(LIMIT, used)],
        });
    }

    /// Data of the response; facts of the rows count as polled.
    fn data(&self, query: &[(String, String)]) -> Result<Value, ApiError> {
        let service = self.service;
        let person = service.zoho.person(&self.caller.login);
        let person = person.ok_or_else(ApiError::unknown_path)?;
        let mut world = service.world();
        let mailbox = &*service.open(&mut world, &person);
        if let Some(id) = self.resource.account()
            && id != mailbox.account_id.to_string()
        {
            return Err(ApiError::unknown("Account", id));
        }
        let server = service.zoho.server(mailbox.data_center);
        let folders = format!("{server}/api/accounts/{}/folders", mailbox.account_id);
        Ok(match self.resource {
            Resource::Accounts => json!([render::account(mailbox)]),
            Resource::Account(_) => render::account(mailbox),
            Resource::Folders(_) => {
                let all = mailbox.folders.all().iter();
                let all = all.map(|folder| render::folder(folder, &folders));
                Value::Array(all.collect())
            }
            Resource::Folder(_, id) => {
                let mut all = mailbox.folders.all().iter();
                let folder = all.find(|folder| folder.id.to_string() == id);
                let folder = folder.ok_or_else(|| ApiError::unknown("Folder", id))?;
                render::folder(folder, &folders)
            }
            Resource::View(_) => {
                let view = View::parse(query)?;
                let page = view.page(mailbox, &service.settings())?;
                self.mark_polled(mailbox, &page);
                let rows = page.into_iter();
                let rows = rows.map(|one| render::row(mailbox, one, view.has_recipients));
                Value::Array(rows.collect())
            }
            Resource::Message(_, folder, id, part) => {
                let message = find(mailbox, folder, id)?;
                match part {
                    Part::Details => {
                        self.mark_polled(mailbox, &[message]);
                        render::row(mailbox, message, true)
                    }
                    Part::Header => render::headers(mailbox, message),
                    Part::Content => render::content(mailbox, message),
                }
            }
        })
    }

    fn mark_polled(&self, mailbox: &Mailbox, messages: &[&Message]) {
        let shown = messages.iter().filter(|one| mailbox.kind(one).is_some());
        let facts = shown.filter_map(|message| message.fact);
        self.service.core.ledger.mark_polled(facts);
    }
}

/// The message with this id in a folder.
fn find<'m>(mailbox: &'m Mailbox, folder: &str, id: &str) -> Result<&'m Message, ApiError> {
    let number = id
        .parse()
        .map_err(|_| ApiError::wrong_parameter("messageId"))?;
    let message = mailbox.message(number);
    let message = message.filter(|message| message.folder.to_string() == folder);
    message.ok_or_else(|| ApiError::unknown("Message", id))
}
