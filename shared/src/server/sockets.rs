//! The open sockets of a server, and which of them gives way when there are too many.
//!
//! Idle sockets cost their owner nothing and us a place each. When all places are taken, a new
//! socket takes the place of an idle one: of the peer that holds most, one without any request
//! so far before one that is kept between requests, and the one that has been idle longest.
//!
//! When every socket has a request under way, the places are shared among peers: a new socket
//! takes the place of the peer that holds most, unless its own peer holds as many, and ends the
//! request that has been under way longest. Otherwise some places are left for health checks and
//! metrics. Trusted proxies hold the sockets of many clients, so their sockets with a request under
//! way never give way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::timeouts::Phase;

/// How many sockets may be open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    /// For any request.
    pub(super) shared: usize,
    /// Beyond, for health checks and metrics.
    pub(super) reserved: usize,
}

#[derive(Debug)]
struct Socket {
    /// `None` for trusted proxies, which hold the sockets of many.
    peer: Option<IpAddr>,
    phase: Phase,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    sockets: HashMap<u64, Socket>,
}

/// The open sockets of one server.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    capacity: Capacity,
    open: Arc<Mutex<Open>>,
}

/// A socket's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    sockets: Sockets,
    /// Cancelled when the socket must give way.
    pub(super) evicted: CancellationToken,
    /// Whether only health checks and metrics are answered on it.
    pub(super) is_reserved: bool,
}

impl Drop for Place {
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new socket; `None` when there is none, not even a reserved one.
    pub(super) fn enter(&self, peer: Option<IpAddr>, phase: &Phase) -> Option<Place> {
        let mut open = self.lock();
        let is_full = open.sockets.len() >= self.capacity.shared;
        let is_reserved = is_full && !open.evict_idle() && !open.evict_busy(peer);
        if is_reserved && open.sockets.len() >= self.capacity.shared + self.capacity.reserved {
            return None;
        }
        let id = open.next;
        open.next += 1;
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
        Some(Place {
            id,
            sockets: self.clone(),
            evicted,
            is_reserved,
        })
    }

    /// Closes a socket, because the process has no more file descriptors.
    pub(super) fn evict(&self) -> bool {
        let mut open = self.lock();
        open.evict_idle() || open.evict_busy(None)
    }
}

impl Open {
    /// Sockets of each peer.
    fn held(&self) -> HashMap<IpAddr, usize> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for peer in self.sockets.values().filter_map(|socket| socket.peer) {
            *held.entry(peer).or_default() += 1;
        }
        held
    }

    /// Closes an idle socket of the peer that holds most.
    fn evict_idle(&mut self) -> bool {
        let held = self.held();
        let idle = self.sockets.iter().filter_map(|(id, socket)| {
            let (is_proven, since) = socket.phase.idle_since()?;
            let share = socket.peer.and_then(|peer| held.get(&peer)).copied();
            Some((std::cmp::Reverse(share.unwrap_or(0)), is_proven, since, *id))
        });
        let Some((.., id)) = idle.min() else {
            return false;
        };
        self.close(id)
    }

    /// Closes a socket of the peer that holds most, the one whose request has been under way
    /// longest, for a new one of `peer`; not where `peer` would then hold more than that peer.
    fn evict_busy(&mut self, peer: Option<IpAddr>) -> bool {
        let held = self.held();
        let own = peer.and_then(|peer| held.get(&peer)).copied().unwrap_or(0);
        let most = held.iter().max_by_key(|(_, count)| **count);
        let Some((&largest, _)) = most.filter(|(_, count)| **count > own + 1) else {
            return false;
        };
        let theirs = self.sockets.iter();
        let theirs = theirs.filter(|(_, socket)| socket.peer == Some(largest));
        let Some((_, id)) = theirs.map(|(id, socket)| (socket.phase.since(), *id)).min() else {
            return false;
        };
        self.close(id)
    }

    fn close(&mut self, id: u64) -> bool {
        let closed = self.sockets.remove(&id);
        if let Some(socket) = &closed {
            socket.evicted.cancel();
        }
        closed.is_some()
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

    fn enter(sockets: &Sockets, number: u8, is_busy: bool) -> Option<Place> {
        let phase = Phase::default();
        if is_busy {
            phase.begin_response();
        }
        sockets.enter(Some(peer(number)), &phase)
    }

    #[tokio::test]
    async fn idle_socket_of_the_largest_peer_gives_way() {
        let sockets = sockets(4, 1);
        let few = enter(&sockets, 1, false).expect("a place");
        let busy = enter(&sockets, 2, true).expect("a place");
        let many = [2, 2].map(|peer| enter(&sockets, peer, false).expect("a place"));
        let new = enter(&sockets, 3, false).expect("a place");
        assert!(!new.is_reserved && !few.evicted.is_cancelled() && !busy.evicted.is_cancelled());
        assert_eq!(
            many.iter()
                .filter(|place| place.evicted.is_cancelled())
                .count(),
            1
        );
    }

    #[tokio::test]
    async fn socket_without_a_request_gives_way_first() {
        let sockets = sockets(2, 0);
        let kept = Phase::default();
        kept.begin_response();
        kept.end_response();
        let kept = sockets.enter(Some(peer(1)), &kept).expect("a place");
        let unused = enter(&sockets, 1, false).expect("a place");
        let _new = enter(&sockets, 1, false).expect("a place");
        assert!(unused.evicted.is_cancelled() && !kept.evicted.is_cancelled());
    }

    #[tokio::test]
    async fn busy_socket_of_the_largest_peer_gives_way() {
        let sockets = sockets(5, 1);
        let few = [2, 3].map(|peer| enter(&sockets, peer, true).expect("a place"));
        let many = [1, 1, 1].map(|peer| enter(&sockets, peer, true).expect("a place"));
        let evicted = |places: &[Place]| {
            let evicted = places.iter().filter(|place| place.evicted.is_cancelled());
            evicted.count()
        };
        let new = enter(&sockets, 4, true).expect("a place");
        assert!(!new.is_reserved && !new.evicted.is_cancelled());
        assert_eq!((evicted(&few), evicted(&many)), (0, 1));
        // Its peer would then hold as many as the largest one.
        assert!(enter(&sockets, 4, true).expect("a place").is_reserved);
        assert_eq!((evicted(&few), evicted(&many)), (0, 1));
    }

    #[tokio::test]
    async fn busy_sockets_of_trusted_proxies_stay_open() {
        let sockets = sockets(2, 1);
        let proxied = [(); 2].map(|()| {
            let phase = Phase::default();
            phase.begin_response();
            sockets.enter(None, &phase).expect("a place")
        });
        assert!(enter(&sockets, 1, true).expect("a place").is_reserved);
        assert!(proxied.iter().all(|place| !place.evicted.is_cancelled()));
    }

    #[tokio::test]
    async fn reserved_places_are_left_when_all_are_busy() {
        let sockets = sockets(2, 1);
        let busy = [1, 2].map(|peer| enter(&sockets, peer, true).expect("a place"));
        let reserved = enter(&sockets, 1, true).expect("a reserved place");
        assert!(reserved.is_reserved && busy.iter().all(|place| !place.is_reserved));
        assert!(enter(&sockets, 1, false).is_none());
        drop(busy);
        assert!(!enter(&sockets, 1, false).expect("a place").is_reserved);
    }
}
