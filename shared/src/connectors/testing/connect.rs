//! Both halves of an authorization step.

use serde_json::Value;
use url::Url;

use crate::connectors::{AuthorizeRequest, Callback};

/// The callback URL.
pub(in crate::connectors) const REDIRECT: &str = "https://poblysh.example/callback";
/// The PKCE verifier and its challenge of RFC 7636, appendix B.
pub(in crate::connectors) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(in crate::connectors) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The start of a step with the state `a state`.
pub(in crate::connectors) fn authorize_request(context: Option<Value>) -> AuthorizeRequest {
    AuthorizeRequest {
        state: "a state".to_owned(),
        redirect_uri: Url::parse(REDIRECT).expect("a URL"),
        code_challenge: CHALLENGE.to_owned(),
        context,
    }
}

/// The redirect of a step with this query.
pub(in crate::connectors) fn callback(query: &[(&str, &str)], context: Option<Value>) -> Callback {
    Callback {
        query: query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        code_verifier: VERIFIER.into(),
        redirect_uri: Url::parse(REDIRECT).expect("a URL"),
        context,
    }
}
