//! Reading bodies of strangers: bounded in size, in time and in sum.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use shared::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that are held at the same time, over all requests.
const TOTAL_BYTES: usize = 256 << 20;
/// What one permit stands for.
const UNIT: usize = 1 << 10;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits for room.
const ROOM: Duration = Duration::from_millis(900);

/// Bounds the memory that bodies take before anybody knows whose they are.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL_BYTES / UNIT)))
    }
}

/// A body, and its place in the budget while it is held.
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    pub(crate) _room: OwnedSemaphorePermit,
}

impl BodyBudget {
    /// Reads a body of at most `limit` bytes.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<ReadBody, Problem> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let reserve = announced.unwrap_or(limit).div_ceil(UNIT).max(1);
        let reserve = u32::try_from(reserve).unwrap_or(u32::MAX);
        let room = tokio::time::timeout(ROOM, Arc::clone(&self.0).acquire_many_owned(reserve))
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(Problem::unavailable)?;
        let bytes = tokio::time::timeout(PATIENCE, collect(body, announced.unwrap_or(0), limit))
            .await
            .map_err(|_| {
                Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "body_too_slow",
                    "The request's body did not arrive in time.",
                )
            })??;
        Ok(ReadBody { bytes, _room: room })
    }
}

async fn collect(mut body: Body, announced: usize, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "body_incomplete",
                "The request's body ended before its announced length.",
            )
        })?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.freeze())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("A delivery of this provider has at most {limit} bytes."),
    )
}
