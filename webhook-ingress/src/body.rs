//! Reads unverified bodies within limits of size, time and total memory.
//!
//! Bytes are charged as they arrive. An announced length costs its sender nothing, so it reserves
//! nothing. Each client and each provider has a share of the total, so that none can use it up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use shared::problem::Problem;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The maximum memory and number of bodies at the same time.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of all requests.
    bytes: usize,
    /// Bytes of one provider's requests.
    provider_bytes: usize,
    /// Bytes of one client's requests.
    client_bytes: usize,
    /// Bodies of one client.
    client_bodies: usize,
    /// The maximum time that a request waits for memory.
    max_wait: Duration,
    /// The time before [`MIN_BYTES_PER_SECOND`] applies to a body.
    grace: Duration,
}

const LIMITS: Limits = Limits {
    bytes: 256 << 20,
    provider_bytes: 128 << 20,
    client_bytes: 64 << 20,
    client_bodies: 1024,
    max_wait: Duration::from_millis(900),
    grace: Duration::from_secs(5),
};

/// The lowest average rate of a body after [`Limits::grace`].
const MIN_BYTES_PER_SECOND: usize = 64 << 10;
/// The maximum time for a body, even one at a high rate.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum memory that is allocated before a body's first byte.
const MAX_PREALLOCATED: usize = 16 << 10;

/// The sender of a body, as known before verification.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    /// The client's network.
    pub(crate) client: IpAddr,
    /// The provider in the URL.
    pub(crate) provider: &'static str,
}

/// The memory budget of unverified bodies.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget {
    limits: Limits,
    used: Arc<Mutex<Used>>,
    released: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    providers: HashMap<&'static str, usize>,
    /// Bytes and bodies.
    clients: HashMap<IpAddr, (usize, usize)>,
}

/// A body with its reservation.
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    pub(crate) _reservation: Reservation,
}

/// Memory reserved in the budget; released when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: BodyBudget,
    sender: Sender,
    bytes: usize,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::with(LIMITS)
    }
}

impl BodyBudget {
    fn with(limits: Limits) -> Self {
        Self {
            limits,
            used: Arc::default(),
            released: Arc::default(),
        }
    }

    /// Reads a body of at most `limit` bytes.
    pub(crate) async fn read(
        &self,
        sender: Sender,
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
        let reservation = self.reserve(sender).ok_or_else(Problem::unavailable)?;
        self.collect(reservation, body, announced.unwrap_or(0), limit)
            .await
    }

    async fn collect(
        &self,
        mut reservation: Reservation,
        mut body: Body,
        announced: usize,
        limit: usize,
    ) -> Result<ReadBody, Problem> {
        let started_at = Instant::now();
        let mut bytes = BytesMut::with_capacity(announced.min(MAX_PREALLOCATED));
        loop {
            let earned = Duration::from_millis((bytes.len() * 1000 / MIN_BYTES_PER_SECOND) as u64);
            let deadline = started_at + (self.limits.grace + earned).min(BODY_TIMEOUT);
            let frame = timeout_at(deadline, body.frame()).await;
            let Some(frame) = frame.map_err(|_| too_slow())? else {
                break;
            };
            let frame = frame.map_err(|_| incomplete())?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > limit {
                    return Err(too_large(limit));
                }
                reservation.grow(data.len()).await?;
                bytes.extend_from_slice(data);
            }
        }
        Ok(ReadBody {
            bytes: bytes.freeze(),
            _reservation: reservation,
        })
    }

    /// A reservation without bytes; `None` while the client sends too many bodies.
    fn reserve(&self, sender: Sender) -> Option<Reservation> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, bodies) = used.clients.entry(sender.client).or_default();
        if *bodies >= self.limits.client_bodies {
            return None;
        }
        *bodies += 1;
        drop(used);
        Some(Reservation {
            budget: self.clone(),
            sender,
            bytes: 0,
        })
    }

    fn try_charge(&self, sender: Sender, bytes: usize) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = used.providers.get(sender.provider).copied().unwrap_or(0);
        let (client, bodies) = used.clients.get(&sender.client).copied().unwrap_or((0, 0));
        if used.bytes + bytes > self.limits.bytes
            || provider + bytes > self.limits.provider_bytes
            || client + bytes > self.limits.client_bytes
        {
            return false;
        }
        used.bytes += bytes;
        used.providers.insert(sender.provider, provider + bytes);
        used.clients.insert(sender.client, (client + bytes, bodies));
        true
    }
}

impl Reservation {
    /// Reserves more bytes; waits up to [`Limits::max_wait`] for others to be released.
    async fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let deadline = Instant::now() + self.budget.limits.max_wait;
        loop {
            let released = Arc::clone(&self.budget.released);
            let released = released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.budget.try_charge(self.sender, bytes) {
                self.bytes += bytes;
                return Ok(());
            }
            timeout_at(deadline, released)
                .await
                .map_err(|_| Problem::unavailable())?;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self
            .budget
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        used.bytes = used.bytes.saturating_sub(self.bytes);
        update_or_remove(&mut used.providers, self.sender.provider, |bytes| {
            *bytes = bytes.saturating_sub(self.bytes);
            *bytes == 0
        });
        update_or_remove(&mut used.clients, self.sender.client, |(bytes, bodies)| {
            *bytes = bytes.saturating_sub(self.bytes);
            *bodies = bodies.saturating_sub(1);
            *bodies == 0
        });
        drop(used);
        self.budget.released.notify_waiters();
    }
}

/// Updates an entry, and removes it when `update` returns true.
fn update_or_remove<K: Eq + Hash, V>(
    map: &mut HashMap<K, V>,
    key: K,
    update: impl FnOnce(&mut V) -> bool,
) {
    if let Entry::Occupied(mut entry) = map.entry(key)
        && update(entry.get_mut())
    {
        entry.remove();
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("The body is too large. The limit of this provider is {limit} bytes."),
    )
}

fn too_slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "body_too_slow",
        "The request body did not arrive in time.",
    )
}

fn incomplete() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "body_incomplete",
        "The request body ended before its announced length.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits {
        bytes: 100,
        provider_bytes: 60,
        client_bytes: 40,
        client_bodies: 2,
        max_wait: Duration::from_millis(20),
        grace: Duration::from_millis(50),
    };

    fn sender(client: u8, provider: &'static str) -> Sender {
        let client = IpAddr::from([192, 0, 2, client]);
        Sender { client, provider }
    }

    async fn reserve(budget: &BodyBudget, sender: Sender, bytes: usize) -> Option<Reservation> {
        let mut reservation = budget.reserve(sender)?;
        reservation.grow(bytes).await.ok()?;
        Some(reservation)
    }

    #[tokio::test]
    async fn client_and_provider_have_shares() {
        let budget = BodyBudget::with(SMALL);
        let first = reserve(&budget, sender(1, "github"), 40)
            .await
            .expect("memory");
        assert!(
            reserve(&budget, sender(1, "github"), 1).await.is_none(),
            "the client's share"
        );
        let _second = reserve(&budget, sender(2, "github"), 20)
            .await
            .expect("memory");
        assert!(
            reserve(&budget, sender(3, "github"), 1).await.is_none(),
            "the provider's share"
        );
        let _third = reserve(&budget, sender(3, "slack"), 40)
            .await
            .expect("memory");
        assert!(
            reserve(&budget, sender(4, "slack"), 1).await.is_none(),
            "the total"
        );
        drop(first);
        assert!(reserve(&budget, sender(1, "github"), 40).await.is_some());
    }

    #[tokio::test]
    async fn released_memory_goes_to_a_waiting_body() {
        let budget = BodyBudget::with(Limits {
            max_wait: Duration::from_mins(1),
            ..SMALL
        });
        let first = reserve(&budget, sender(1, "github"), 40)
            .await
            .expect("memory");
        let waiting = reserve(&budget, sender(1, "slack"), 10);
        let (reservation, ()) = tokio::join!(waiting, async { drop(first) });
        assert!(reservation.is_some());
    }

    #[tokio::test]
    async fn bodies_of_one_client_are_bounded() {
        let budget = BodyBudget::with(SMALL);
        let both = [(); 2].map(|()| budget.reserve(sender(1, "github")).expect("a reservation"));
        assert!(budget.reserve(sender(1, "github")).is_none());
        assert!(budget.reserve(sender(2, "github")).is_some());
        drop(both);
        assert!(budget.reserve(sender(1, "github")).is_some());
        assert!(budget.used.lock().expect("unpoisoned").clients.is_empty());
    }

    #[tokio::test]
    async fn announced_length_reserves_nothing_and_times_out() {
        let budget = BodyBudget::with(SMALL);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, 100.into());
        let idle = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let idle = budget.read(sender(1, "github"), &headers, idle, 100);
        let other = async {
            let body = Body::from(vec![0; 40]);
            budget
                .read(sender(1, "github"), &HeaderMap::new(), body, 100)
                .await
        };
        let (idle, other) = tokio::join!(idle, other);
        assert_eq!(other.map(|read| read.bytes.len()).ok(), Some(40));
        assert_eq!(
            idle.err().map(|problem| problem.code),
            Some("body_too_slow")
        );
    }
}
