//! Google Drive: pushes of channels.

use super::Provider;
use super::google::{self, Channels, Product};
use crate::webhook::{self, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: Drive::SLUG,
    settings: google::settings,
    sign: Channels::<Drive>::sign,
    check_delivery: webhook::run::<Channels<Drive>>,
};

struct Drive;

impl Product for Drive {
    const SLUG: &'static str = "google_drive";
}
