//! Pages of the connect flow.

mod account_picker;
mod connection;
mod consent;
mod failure;
mod problems;

pub(crate) use account_picker::AccountPickerView;
pub(crate) use connection::{ConnectionState, ConnectionView};
pub(crate) use consent::ConsentView;
pub(crate) use failure::{ClosedLink, FailureContext};
pub(crate) use problems::show_problems;
