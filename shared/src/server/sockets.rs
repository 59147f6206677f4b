//! The open sockets of a server, and the eviction of sockets at capacity.
//!
//! Idle sockets cost their clients nothing. At capacity, a new socket evicts an idle one of the
//! peer with most sockets: one without a request so far before one that has served requests, and
//! then the one that has been idle longest.
//!
//! When all sockets are busy, capacity is shared among peers: a new socket evicts the one with the
//! longest running request of the peer with most sockets, unless its own peer holds as many. Else
//! only reserved sockets for health checks and metrics are left. The sockets of trusted proxies
//! belong to many clients, so busy ones are never evicted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::timeouts::Phase;

/// The maximum number of open sockets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    /// Sockets for any request.
    pub(super) shared: usize,
    /// Further sockets, for health checks and metrics.
    pub(super) reserved: usize,
}

#[derive(Debug)]
struct Socket {
    /// `None` for trusted proxies, whose sockets belong to many clients.
    peer: Option<IpAddr>,
    phase: Phase,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct OpenSockets {
    next_id: u64,
    sockets: HashMap<u64, Socket>,
}

/// The open sockets of one server.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    capacity: Capacity,
    open: Arc<Mutex<OpenSockets>>,
}

/// The entry of an open socket; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketGuard {
    id: u64,
    sockets: Sockets,
    /// Cancelled when the socket is evicted.
    pub(super) evicted: CancellationToken,
    /// Whether the socket serves health checks and metrics only.
    pub(super) is_reserved: bool,
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.sockets.lock().sockets.remove(&self.id);
    }
}

impl Sockets {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            open: Arc::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenSockets> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a new socket; `None` when even the reserved ones are in use.
    pub(super) fn open(&self, peer: Option<IpAddr>, phase: &Phase) -> Option<SocketGuard> {
        let mut open = self.lock();
        let is_full = open.sockets.len() >= self.capacity.shared;
        let is_reserved = is_full && !open.evict_idle() && !open.evict_busy(peer);
        if is_reserved && open.sockets.len() >= self.capacity.shared + self.capacity.reserved {
            return None;
        }
        let id = open.next_id;
        open.next_id += 1;
        let evicted = CancellationToken::new();
        open.sockets.insert(
            id,
            Socket {
                peer,
                phase: phase.clone(),
                evicted: evicted.clone(),
            },
        );
        drop(open);
        Some(SocketGuard {
            id,
            sockets: self.clone(),
            evicted,
            is_reserved,
        })
    }

    /// Evicts a socket, because the process has no free file descriptor.
    pub(super) fn evict(&self) -> bool {
        let mut open = self.lock();
        open.evict_idle() || open.evict_busy(None)
    }
}

impl OpenSockets {
    /// The number of sockets of each peer.
    fn count_by_peer(&self) -> HashMap<IpAddr, usize> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for peer in self.sockets.values().filter_map(|socket| socket.peer) {
            *counts.entry(peer).or_default() += 1;
        }
        counts
    }

    /// Evicts an idle socket of the peer with most sockets.
    fn evict_idle(&mut self) -> bool {
        let counts = self.count_by_peer();
        let idle = self.sockets.iter().filter_map(|(id, socket)| {
            let (has_served, since) = socket.phase.idle_since()?;
            let share = socket.peer.and_then(|peer| counts.get(&peer)).copied();
            Some((
                std::cmp::Reverse(share.unwrap_or(0)),
                has_served,
                since,
                *id,
            ))
        });
        let Some((.., id)) = idle.min() else {
            return false;
        };
        self.evict(id)
    }

    /// Evicts a busy socket of the peer with most sockets, for a new one of `peer`.
    ///
    /// It is the one with the longest running request. None is evicted if `peer` would then hold
    /// more sockets than that peer.
    fn evict_busy(&mut self, peer: Option<IpAddr>) -> bool {
        let counts = self.count_by_peer();
        let own = peer
            .and_then(|peer| counts.get(&peer))
            .copied()
            .unwrap_or(0);
        let most = counts.iter().max_by_key(|(_, count)| **count);
        let Some((&largest, _)) = most.filter(|(_, count)| **count > own + 1) else {
            return false;
        };
        let candidates = self.sockets.iter();
        let candidates = candidates.filter(|(_, socket)| socket.peer == Some(largest));
        let candidates = candidates.map(|(id, socket)| (socket.phase.since(), *id));
        let Some((_, id)) = candidates.min() else {
            return false;
        };
        self.evict(id)
    }

    fn evict(&mut self, id: u64) -> bool {
        let evicted = self.sockets.remove(&id);
        if let Some(socket) = &evicted {
            socket.evicted.cancel();
        }
        evicted.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(shared: usize, reserved: usize) -> Sockets {
        Sockets::new(Capacity { shared, reserved })
    }

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn open(sockets: &Sockets, number: u8, is_busy: bool) -> Option<SocketGuard> {
        let phase = Phase::default();
        if is_busy {
            phase.begin_response();
        }
        sockets.open(Some(peer(number)), &phase)
    }

    #[tokio::test]
    async fn idle_socket_of_the_largest_peer_is_evicted() {
        let sockets = sockets(4, 1);
        let few = open(&sockets, 1, false).expect("a socket");
        let busy = open(&sockets, 2, true).expect("a socket");
        let many = [2, 2].map(|peer| open(&sockets, peer, false).expect("a socket"));
        let new = open(&sockets, 3, false).expect("a socket");
        assert!(!new.is_reserved && !few.evicted.is_cancelled() && !busy.evicted.is_cancelled());
        assert_eq!(
            many.iter()
                .filter(|guard| guard.evicted.is_cancelled())
                .count(),
            1
        );
    }

    #[tokio::test]
    async fn socket_without_a_request_is_evicted_first() {
        let sockets = sockets(2, 0);
        let kept = Phase::default();
        kept.begin_response();
        kept.end_response();
        let kept = sockets.open(Some(peer(1)), &kept).expect("a socket");
        let unused = open(&sockets, 1, false).expect("a socket");
        let _new = open(&sockets, 1, false).expect("a socket");
        assert!(unused.evicted.is_cancelled() && !kept.evicted.is_cancelled());
    }

    #[tokio::test]
    async fn busy_socket_of_the_largest_peer_is_evicted() {
        let sockets = sockets(5, 1);
        let few = [2, 3].map(|peer| open(&sockets, peer, true).expect("a socket"));
        let many = [1, 1, 1].map(|peer| open(&sockets, peer, true).expect("a socket"));
        let evicted = |guards: &[SocketGuard]| {
            let evicted = guards.iter().filter(|guard| guard.evicted.is_cancelled());
            evicted.count()
        };
        let new = open(&sockets, 4, true).expect("a socket");
        assert!(!new.is_reserved && !new.evicted.is_cancelled());
        assert_eq!((evicted(&few), evicted(&many)), (0, 1));
        // Its peer would then hold as many as the largest one.
        assert!(open(&sockets, 4, true).expect("a socket").is_reserved);
        assert_eq!((evicted(&few), evicted(&many)), (0, 1));
    }

    #[tokio::test]
    async fn busy_sockets_of_trusted_proxies_stay_open() {
        let sockets = sockets(2, 1);
        let proxied = [(); 2].map(|()| {
            let phase = Phase::default();
            phase.begin_response();
            sockets.open(None, &phase).expect("a socket")
        });
        assert!(open(&sockets, 1, true).expect("a socket").is_reserved);
        assert!(proxied.iter().all(|guard| !guard.evicted.is_cancelled()));
    }

    #[tokio::test]
    async fn reserved_sockets_are_used_when_all_are_busy() {
        let sockets = sockets(2, 1);
        let busy = [1, 2].map(|peer| open(&sockets, peer, true).expect("a socket"));
        let reserved = open(&sockets, 1, true).expect("a reserved socket");
        assert!(reserved.is_reserved && busy.iter().all(|guard| !guard.is_reserved));
        assert!(open(&sockets, 1, false).is_none());
        drop(busy);
        assert!(!open(&sockets, 1, false).expect("a socket").is_reserved);
    }
}
