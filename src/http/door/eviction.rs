//! Which connection is closed to make room for another.
//!
//! A connection counts towards each network that contains its address. A new connection from a
//! network at its limit replaces the one of that network that has been idle longest. When the door
//! is full, the network with the most connections loses one. Many connections from few
//! addresses therefore keep nobody else out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::address::Network;

/// A connection's place in the order of eviction. The connection whose last complete request is the
/// oldest goes first.
pub type EvictionKey = u64;

/// Connections that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Connections exempt from the limits. Each counts as the only one of its address, because a
    /// proxy has many clients.
    Unlimited,
    /// Connections from one network.
    Network(Network),
}

impl Group {
    /// The groups of a connection; `address` is `None` if it is exempt from the limits.
    pub fn all_of(address: Option<IpAddr>) -> impl Iterator<Item = Group> {
        let unlimited = address.is_none().then_some(Group::Unlimited);
        unlimited
            .into_iter()
            .chain(address.into_iter().flat_map(Network::all_of).map(Group::Network))
    }
}

/// All connections, by group.
#[derive(Debug, Default)]
pub struct Eviction {
    last_eviction_key: EvictionKey,
    groups: HashMap<Group, Members>,
    /// The groups with evictable connections; the last one loses a connection first.
    ranking: BTreeSet<Rank>,
}

#[derive(Debug, Default)]
struct Members {
    connections: usize,
    /// The keys of evictable connections, in the order of eviction.
    evictable: BTreeMap<EvictionKey, usize>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Connections, in proportion to the group's limit.
    load: usize,
    oldest: Reverse<EvictionKey>,
    group: Group,
}

impl Members {
    /// `None` if no connection of the group is evictable.
    fn rank(&self, group: Group) -> Option<Rank> {
        let (oldest, _) = self.evictable.first_key_value()?;
        let load = match group {
            Group::Unlimited => 1,
            Group::Network(network) => self.connections.div_ceil(network.multiple() as usize),
        };
        Some(Rank { load, oldest: Reverse(*oldest), group })
    }
}

impl Eviction {
    /// The group that is full for a new connection from `address`, if an address may have `limit`
    /// connections.
    pub fn full_group(&self, address: Option<IpAddr>, limit: usize) -> Option<Group> {
        Group::all_of(address).find(|group| match group {
            Group::Unlimited => false,
            Group::Network(network) => {
                let connections = self.groups.get(group).map_or(0, |members| members.connections);
                connections >= limit.saturating_mul(network.multiple() as usize)
            }
        })
    }

    /// Counts a new connection, which is not evictable yet.
    pub fn add(&mut self, address: Option<IpAddr>) {
        self.change(address, |members| members.connections += 1);
    }

    /// Forgets a closed connection.
    pub fn remove(&mut self, address: Option<IpAddr>, eviction_key: EvictionKey) {
        self.change(address, |members| {
            members.connections -= 1;
            members.evictable.remove(&eviction_key);
        });
    }

    /// A new last place, for an accepted connection or one whose request is complete.
    pub fn new_eviction_key(&mut self) -> EvictionKey {
        self.last_eviction_key += 1;
        self.last_eviction_key
    }

    /// Allows a connection to be evicted.
    pub fn make_evictable(
        &mut self,
        address: Option<IpAddr>,
        eviction_key: EvictionKey,
        key: usize,
    ) {
        self.change(address, |members| {
            members.evictable.insert(eviction_key, key);
        });
    }

    /// Keeps a connection from being evicted while its request is being answered.
    pub fn protect(&mut self, address: Option<IpAddr>, eviction_key: EvictionKey) {
        self.change(address, |members| {
            members.evictable.remove(&eviction_key);
        });
    }

    /// Moves a connection to the last place, and returns that.
    pub fn renew(
        &mut self,
        address: Option<IpAddr>,
        eviction_key: EvictionKey,
        key: usize,
    ) -> EvictionKey {
        let renewed = self.new_eviction_key();
        self.change(address, |members| {
            members.evictable.remove(&eviction_key);
            members.evictable.insert(renewed, key);
        });
        renewed
    }

    /// The connection to close when the door is full.
    pub fn first(&self) -> Option<usize> {
        self.first_of(self.ranking.last()?.group)
    }

    /// The connection to close for a new one of this group.
    pub fn first_of(&self, group: Group) -> Option<usize> {
        self.groups.get(&group)?.evictable.first_key_value().map(|(_, key)| *key)
    }

    fn change(&mut self, address: Option<IpAddr>, change: impl Fn(&mut Members)) {
        for group in Group::all_of(address) {
            let members = self.groups.entry(group).or_default();
            let before = members.rank(group);
            change(members);
            let after = members.rank(group);
            if members.connections == 0 {
                self.groups.remove(&group);
            }
            if before != after {
                before.map(|rank| self.ranking.remove(&rank));
                self.ranking.extend(after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64;

    /// A door with room for `size` connections, on which nothing is sent.
    struct SilentDoor {
        eviction: Eviction,
        size: usize,
        open: HashMap<usize, (Option<IpAddr>, EvictionKey)>,
        next: usize,
        closed: Vec<usize>,
    }

    fn silent_door(size: usize) -> SilentDoor {
        let (eviction, open, closed) = Default::default();
        SilentDoor { eviction, size, open, next: 0, closed }
    }

    impl SilentDoor {
        /// Does what the listener does with a new connection.
        fn connect(&mut self, address: &str) -> usize {
            let address = (address != "proxy").then(|| address.parse().expect("an address"));
            while let Some(full) = self.eviction.full_group(address, LIMIT) {
                self.close(self.eviction.first_of(full).expect("all are evictable"));
            }
            if self.open.len() == self.size {
                self.close(self.eviction.first().expect("all are evictable"));
            }
            let (key, eviction_key) = (self.next, self.eviction.new_eviction_key());
            self.next += 1;
            self.eviction.add(address);
            self.eviction.make_evictable(address, eviction_key, key);
            self.open.insert(key, (address, eviction_key));
            key
        }

        fn close(&mut self, key: usize) {
            let (address, eviction_key) = self.open.remove(&key).expect("it is open");
            self.eviction.remove(address, eviction_key);
            self.closed.push(key);
        }
    }

    #[test]
    fn an_address_at_its_limit_loses_its_own_longest_idle_connection() {
        let mut door = silent_door(1024);
        let other = door.connect("192.0.2.1");
        let first = door.connect("192.0.2.7");
        (1..LIMIT).for_each(|_| _ = door.connect("192.0.2.7"));
        assert!(door.closed.is_empty());
        door.connect("192.0.2.7");
        assert_eq!(door.closed, [first]);
        assert!(door.open.contains_key(&other));
    }

    #[track_caller]
    fn check_limit(open: usize, address: impl Fn(usize) -> String) {
        let mut door = silent_door(10_000);
        (0..open).for_each(|index| _ = door.connect(&address(index)));
        assert!(door.closed.is_empty());
        door.connect(&address(open));
        assert_eq!(door.closed, [0]);
    }

    #[test]
    fn networks_of_ipv6_have_limits() {
        check_limit(64, |index| format!("2001:db8:1:2::{index:x}"));
        check_limit(128, |index| format!("2001:db8:1:2{index:02x}::1"));
        check_limit(256, |index| format!("2001:db8:1:{:02x}00::{index:x}", index % 256));
    }

    #[test]
    fn the_address_with_the_most_connections_loses_one_first() {
        let mut door = silent_door(4);
        let few = door.connect("192.0.2.1");
        let many = ["192.0.2.7"; 3].map(|address| door.connect(address));
        door.connect("192.0.2.2");
        door.connect("192.0.2.3");
        assert_eq!(door.closed, many[..2]);
        // All addresses have one: the one that has been idle longest is closed.
        door.connect("192.0.2.4");
        assert_eq!(door.closed[2..], [few]);
    }

    #[test]
    fn a_proxy_counts_as_many_clients() {
        let mut door = silent_door(5);
        let proxy = ["proxy"; 3].map(|address| door.connect(address));
        let many = ["2001:db8::1", "2001:db8::2"].map(|address| door.connect(address));
        door.connect("192.0.2.1");
        assert_eq!(door.closed, many[..1]);
        door.connect("192.0.2.2");
        assert_eq!(door.closed[1..], proxy[..1]);
    }

    /// The attacker opens 10,000 connections a second. The client's request arrives 600 ms after it
    /// connects.
    #[track_caller]
    fn check_new_client(attacker: impl Fn(usize) -> String) {
        let mut door = silent_door(1024);
        (0..10_000).for_each(|index| _ = door.connect(&attacker(index)));
        let connection = door.connect("192.0.2.1");
        (0..6_000).for_each(|index| _ = door.connect(&attacker(index)));
        assert!(door.open.contains_key(&connection));
    }

    #[test]
    fn few_addresses_keep_no_client_out() {
        check_new_client(|index| format!("198.51.100.{}", index % 20));
        check_new_client(|index| format!("2001:db8:{:x}::1", index % 20));
        // Each attacker has a /48, and each connection comes from another /64.
        check_new_client(|index| format!("2001:db8:{:x}:{index:x}::1", index % 20));
    }
}
