//! The views of the console: each takes what the API's functions return and gives a page.

mod audit_log;
mod connection;
mod connections;
mod deliveries;
mod home;
mod jobs;
mod parts;
mod signals;
mod tenants;

pub(super) use audit_log::AuditLogView;
pub(super) use connection::{ConnectLinkView, ConnectionView};
pub(super) use connections::{ConnectionRow, ConnectionsView};
pub(super) use deliveries::{DeliveriesView, DeliveryView};
pub(super) use home::{HomeView, HourlyRequests};
pub(super) use jobs::{JobRow, JobsView};
pub(super) use parts::Notice;
pub(super) use signals::{LineageView, SignalsView};
pub(super) use tenants::{NewKeyView, TenantView, TenantsView};
