//! The only way out: one HTTP client with timeouts, an egress guard, bounded bodies, spans
//! and metrics. Every call passes a [`RateGate`].

mod client;
mod gate;

pub use client::{HttpError, Outbound, OutboundBuilder, ProviderResponse};
pub use gate::{
    Admission, Charge, LimitObservation, Priority, RateGate, Refused, note_admitted, page,
    page_deadline,
};
