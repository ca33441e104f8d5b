//! Who is connected, and who goes first when there is no room for another.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::handle::MAX_CONNECTIONS;

/// Time that a client has in any case, to say something or to take its answer.
const GRACE: Duration = Duration::from_millis(100);
/// Time in which a client takes the last that we have sent, and closes the connection.
const PARTING: Duration = Duration::from_secs(2);

/// One address, or the 2^64 that one holder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        match address.ip().to_canonical() {
            IpAddr::V6(address) => Peer(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            address @ IpAddr::V4(_) => Peer(address),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// We wait for its request, or for its turn to prove who it is.
    Asking,
    /// It waits for us.
    Working,
    /// We wait until it has taken its answer.
    Taking,
}

/// One connection's client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    phase: Mutex<(Phase, Instant)>,
    cut_off: Notify,
}

impl Client {
    fn new(peer: Peer) -> Arc<Client> {
        Arc::new(Client { peer, phase: Mutex::new((Phase::Asking, Instant::now())), cut_off: Notify::new() })
    }

    fn phase_since(&self) -> (Phase, Instant) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase_since().0
    }

    pub(super) fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = (phase, Instant::now());
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn cut_off(&self) {
        self.cut_off.notified().await;
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Clients {
    open: Mutex<Vec<Arc<Client>>>,
    /// Somebody has left.
    room: Notify,
    /// Connections that are answered and not closed yet, the oldest first.
    parting: Mutex<VecDeque<AbortHandle>>,
}

/// A place among the connections, until it is dropped.
pub(super) struct Seat {
    clients: Arc<Clients>,
    pub(super) client: Arc<Client>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|client| !Arc::ptr_eq(client, &self.client));
        self.clients.room.notify_one();
    }
}

impl Clients {
    /// Finds a place for one more, if need be that of the slowest once its grace is over. `None` if all wait for us.
    pub(super) async fn seat(self: &Arc<Clients>, peer: Peer) -> Option<Seat> {
        loop {
            let left = {
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                if open.len() >= MAX_CONNECTIONS {
                    let (slowest, since) = slowest(&open)?;
                    let left = GRACE.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        open.swap_remove(slowest).cut_off.notify_one();
                    }
                    left
                } else {
                    Duration::ZERO
                }
            };
            if left.is_zero() {
                let client = Client::new(peer);
                self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&client));
                return Some(Seat { clients: Arc::clone(self), client });
            }
            tokio::select! {
                () = sleep(left) => {}
                () = self.room.notified() => {}
            }
        }
    }

    /// Lets a connection come to its end beside the others. Those that take longest are closed when there are too many.
    pub(super) fn part(&self, end: impl Future<Output = ()> + Send + 'static) {
        let mut parting = self.parting.lock().unwrap_or_else(PoisonError::into_inner);
        parting.retain(|task| !task.is_finished());
        if parting.len() >= MAX_CONNECTIONS
            && let Some(oldest) = parting.pop_front()
        {
            oldest.abort();
        }
        parting.push_back(tokio::spawn(async { drop(timeout(PARTING, end).await) }).abort_handle());
    }
}

/// Place of the one who goes first: of those we wait for, from the peer with the most connections, the one that has taken longest.
fn slowest(open: &[Arc<Client>]) -> Option<(usize, Instant)> {
    let connections = |peer| open.iter().filter(|client| client.peer == peer).count();
    let awaited = open.iter().enumerate().filter_map(|(place, client)| match client.phase_since() {
        (Phase::Working, _) => None,
        (_, since) => Some((place, client.peer, since)),
    });
    awaited.max_by_key(|(_, peer, since)| (connections(*peer), Reverse(*since))).map(|(place, _, since)| (place, since))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::from(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn the_slowest_of_the_peer_with_the_most_goes_first_and_nobody_who_waits_for_us() {
        let open = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"].map(|address| Client::new(peer(address)));
        let find = || slowest(&open).map(|(place, _)| place);
        assert_eq!(find(), Some(1));
        open[1].enter(Phase::Working);
        assert_eq!(find(), Some(2));
        open[2].enter(Phase::Taking);
        assert_eq!(find(), Some(3));
        open[3].enter(Phase::Working);
        open[2].enter(Phase::Working);
        assert_eq!(find(), Some(0));
        open[0].enter(Phase::Working);
        assert_eq!(find(), None);
    }

    #[test]
    fn a_holder_of_many_addresses_is_one_peer() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:0:0:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }
}
