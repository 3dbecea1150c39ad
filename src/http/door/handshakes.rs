//! The order of TLS handshakes.
//!
//! A handshake costs the server a signature and the client almost nothing. So handshakes are
//! limited per address, the address with the fewest recent ones comes first, and requests on open
//! connections come before all handshakes. A handshake that has started does not count against
//! itself: otherwise a new client's second message would wait behind everybody else's first one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::connection::Phase;
use super::event_loop::EventLoop;
use super::eviction::Group;
use super::transport::HandshakeProgress;

/// Handshakes that an address may start at once (as many as it may have connections), and then per
/// second.
const BURST: u32 = 64;
const PER_SECOND: u32 = 16;
/// Beyond this rate, all exempt addresses together come after others.
const UNLIMITED_PER_SECOND: u32 = 1000;
/// How far a full burst is ahead of the rate.
const AHEAD_MAX: Duration =
    Duration::from_micros((BURST as u64 - 1) * 1_000_000 / PER_SECOND as u64);
/// How long handshakes may take in one turn of the loop. The last one may exceed it.
const TURN_MAX: Duration = Duration::from_millis(2);
/// Networks whose clients wait at the same time. Beyond it, new connections wait in the kernel.
const READY_GROUPS_MAX: usize = 64;

/// The connections whose handshake can continue, and how much of the rate their addresses have
/// used.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// Until when each group has used its rate; a time in the past means not at all.
    used_until: HashMap<Group, Instant>,
    /// One queue per IPv4 address or IPv6 /48. Each is in `ready` or in `limited`.
    queues: HashMap<Group, VecDeque<Waiting>>,
    /// Queues within their rate, the one that has used the least first.
    ready: BTreeSet<(Instant, Group)>,
    /// Queues that have used their rate, and until when.
    limited: BTreeSet<(Instant, Group)>,
}

#[derive(Debug)]
struct Waiting {
    key: usize,
    address: Option<IpAddr>,
    /// Whether the handshake has started, and so is already counted.
    started: bool,
}

impl Handshakes {
    /// Queues a connection; `address` is `None` if it is exempt from the limits.
    pub fn queue(&mut self, key: usize, address: Option<IpAddr>, started: bool, now: Instant) {
        let group = queue_group(address);
        let waiting = Waiting { key, address, started };
        let queue = self.queues.entry(group).or_default();
        let used = used(&self.used_until, group, now);
        if started {
            queue.push_front(waiting);
            let without_itself = used.checked_sub(interval(group)).unwrap_or(now);
            self.ready.insert((without_itself.max(now), group));
        } else {
            queue.push_back(waiting);
            if queue.len() == 1 {
                self.ready.insert((used, group));
            }
        }
    }

    /// Removes a closed connection.
    pub fn remove(&mut self, key: usize, address: Option<IpAddr>) {
        if let Some(queue) = self.queues.get_mut(&queue_group(address)) {
            queue.retain(|waiting| waiting.key != key);
        }
    }

    /// Takes the next connection whose handshake may continue now.
    pub fn next(&mut self, now: Instant) -> Option<usize> {
        while let Some(&(until, group)) = self.limited.first()
            && until <= now
        {
            self.limited.pop_first();
            self.ready.insert((used(&self.used_until, group, now), group));
        }
        while let Some((_, group)) = self.ready.pop_first() {
            let queue = self.queues.get_mut(&group).filter(|queue| !queue.is_empty());
            let Some(queue) = queue else {
                self.queues.remove(&group);
                continue;
            };
            let mut allowed_at: Option<Instant> = None;
            let next = queue.iter().position(|waiting| {
                let at = allowed(&self.used_until, waiting, now);
                allowed_at = Some(allowed_at.map_or(at, |earliest| earliest.min(at)));
                at <= now
            });
            if let Some(waiting) = next.and_then(|index| queue.remove(index)) {
                if !waiting.started {
                    self.count(waiting.address, now);
                }
                self.ready.insert((used(&self.used_until, group, now), group));
                return Some(waiting.key);
            }
            self.limited.extend(allowed_at.map(|at| (at, group)));
        }
        None
    }

    /// Whether clients of so many networks wait that no connection should be accepted for now. It
    /// could replace one whose first message has arrived and waits for its turn.
    pub fn are_busy(&self) -> bool {
        self.ready.len() >= READY_GROUPS_MAX
    }

    /// When the next handshake may continue; `None` if none waits.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        let limited = self.limited.first().map(|(until, _)| *until);
        if self.ready.is_empty() { limited } else { Some(now) }
    }

    /// Forgets groups that have their whole rate available again.
    pub fn forget_unused(&mut self, now: Instant) {
        self.used_until.retain(|_, until| *until > now);
    }

    fn count(&mut self, address: Option<IpAddr>, now: Instant) {
        for group in Group::all_of(address) {
            let until = used(&self.used_until, group, now) + interval(group);
            self.used_until.insert(group, until);
        }
    }
}

/// The time between two handshakes of a group, by its rate.
fn interval(group: Group) -> Duration {
    let per_second = match group {
        Group::Unlimited => UNLIMITED_PER_SECOND,
        Group::Network(network) => PER_SECOND * network.multiple(),
    };
    Duration::from_secs(1) / per_second
}

fn used(used_until: &HashMap<Group, Instant>, group: Group, now: Instant) -> Instant {
    used_until.get(&group).map_or(now, |until| now.max(*until))
}

/// When a handshake is within the rates of all its networks.
fn allowed(used_until: &HashMap<Group, Instant>, waiting: &Waiting, now: Instant) -> Instant {
    if waiting.started || waiting.address.is_none() {
        return now;
    }
    Group::all_of(waiting.address)
        .filter_map(|group| used_until.get(&group)?.checked_sub(AHEAD_MAX))
        .fold(now, Instant::max)
}

/// The group with a common queue: an IPv4 address or an IPv6 /48.
fn queue_group(address: Option<IpAddr>) -> Group {
    Group::all_of(address).last().unwrap_or(Group::Unlimited)
}

impl EventLoop {
    /// Queues a connection until its handshake may continue.
    pub(super) fn queue_handshake(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !connection.handshake_queued {
            connection.handshake_queued = true;
            let (address, started) = (connection.limited_address, connection.handshake_started);
            self.handshakes.queue(key, address, started, self.now);
        }
    }

    /// Continues the handshakes whose turn it is, for a limited time.
    pub(super) fn serve_handshakes(&mut self) {
        let end = self.now + TURN_MAX;
        while let Some(key) = self.handshakes.next(self.now) {
            let connection = &mut self.connections[key];
            connection.handshake_queued = false;
            connection.handshake_started = true;
            let before = connection.transport.handshake_progress();
            self.read_available(key);
            self.renew_after_progress(key, before);
            if Instant::now() >= end {
                return;
            }
        }
    }

    /// Lets a client that gets on with its handshake stay longer than those that do not.
    fn renew_after_progress(&mut self, key: usize, before: HandshakeProgress) {
        if let Some(connection) = self.connections.get_mut(key)
            && matches!(connection.phase, Phase::Reading { .. })
            && connection.transport.handshake_progress() > before
        {
            connection.eviction_key =
                self.eviction.renew(connection.limited_address, connection.eviction_key, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        (text != "proxy").then(|| text.parse().expect("an address"))
    }

    /// How many of these handshakes have had a turn by `after`, if all arrive at once.
    fn turns(addresses: impl IntoIterator<Item = String>, after: Duration) -> usize {
        let (mut handshakes, start) = (Handshakes::default(), Instant::now());
        for (key, text) in addresses.into_iter().enumerate() {
            handshakes.queue(key, address(&text), false, start);
        }
        let at_once = std::iter::from_fn(|| handshakes.next(start)).count();
        at_once + std::iter::from_fn(|| handshakes.next(start + after)).count()
    }

    #[track_caller]
    fn check(address: impl Fn(u32) -> String, at_once: usize, in_a_second: usize) {
        let many = || (0..1000).map(&address);
        assert_eq!(turns(many(), Duration::ZERO), at_once);
        assert_eq!(turns(many(), Duration::from_secs(1)), at_once + in_a_second);
    }

    #[test]
    fn an_address_has_a_rate() {
        check(|_| "192.0.2.7".into(), 64, 16);
        check(|index| format!("2001:db8:1:2::{index:x}"), 64, 16);
        check(|index| format!("2001:db8:1:2{:02x}::{index:x}", index % 256), 127, 32);
        check(|index| format!("2001:db8:1:{:02x}00::{index:x}", index % 256), 253, 64);
        check(|_| "proxy".into(), 1000, 0);
    }

    #[test]
    fn the_address_with_the_fewest_comes_first() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        for key in 0..10 {
            handshakes.queue(key, address("192.0.2.7"), false, now);
        }
        handshakes.queue(10, address("192.0.2.1"), false, now);
        handshakes.queue(11, address("2001:db8::1"), false, now);
        handshakes.queue(12, address("2001:db8:0:1::1"), false, now);
        let order: Vec<usize> = std::iter::from_fn(|| handshakes.next(now)).collect();
        assert_eq!(order, [10, 0, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn many_clients_keep_new_ones_waiting_and_one_client_does_not() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        (0..1000).for_each(|key| handshakes.queue(key, address("192.0.2.7"), false, now));
        assert!(!handshakes.are_busy());
        for (key, last) in (1000..).zip(0..READY_GROUPS_MAX - 1) {
            assert!(!handshakes.are_busy());
            handshakes.queue(key, address(&format!("203.0.113.{last}")), false, now);
        }
        assert!(handshakes.are_busy());
        while handshakes.next(now).is_some() {}
        assert!(!handshakes.are_busy(), "the others are limited by their rate");
    }

    #[test]
    fn a_started_handshake_may_finish() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        for key in 0..100 {
            handshakes.queue(key, address("192.0.2.7"), false, now);
        }
        let started: Vec<usize> = std::iter::from_fn(|| handshakes.next(now)).collect();
        assert_eq!(started, Vec::from_iter(0..64));
        assert_eq!(handshakes.next_at(now), Some(now + Duration::from_secs(1) / PER_SECOND));
        handshakes.queue(0, address("192.0.2.7"), true, now);
        let soon = now + Duration::from_secs(1) / PER_SECOND;
        // A started handshake uses no more of the rate.
        assert_eq!(handshakes.next(soon), Some(0));
        assert_eq!(handshakes.next(soon), Some(64));
        assert_eq!(handshakes.next(soon), None);
    }

    #[test]
    fn a_second_message_is_not_behind_first_ones() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        handshakes.queue(0, address("192.0.2.1"), false, now);
        assert_eq!(handshakes.next(now), Some(0));
        handshakes.queue(1, address("198.51.100.1"), false, now);
        handshakes.queue(0, address("192.0.2.1"), true, now);
        let soon = now + Duration::from_millis(1);
        (2..100).for_each(|key| {
            handshakes.queue(key, address(&format!("203.0.113.{key}")), false, soon)
        });
        let order: Vec<usize> = std::iter::from_fn(|| handshakes.next(soon)).take(2).collect();
        assert!(order.contains(&0), "{order:?}");
    }

    #[test]
    fn nothing_is_kept_of_closed_connections() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        for round in 0..1000 {
            handshakes.queue(round, address("192.0.2.7"), false, now);
            if round % 2 == 0 {
                handshakes.next(now);
            }
            handshakes.remove(round, address("192.0.2.7"));
        }
        assert_eq!(handshakes.next(now + Duration::from_secs(60)), None);
        assert_eq!(handshakes.next_at(now), None);
        handshakes.forget_unused(now + Duration::from_secs(60));
        assert!(handshakes.used_until.is_empty() && handshakes.queues.is_empty());
    }
}
