//! Google Calendar: pushes of channels.

use super::Provider;
use super::google::{self, Channels, Product};
use crate::webhook::{self, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: Calendar::SLUG,
    settings: google::settings,
    sign: Channels::<Calendar>::sign,
    check_delivery: webhook::run::<Channels<Calendar>>,
};

struct Calendar;

impl Product for Calendar {
    const SLUG: &'static str = "google_calendar";
}
