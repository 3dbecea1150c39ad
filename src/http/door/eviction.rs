//! Which connection is closed to make room for another.
//!
//! A connection counts towards the networks that its address is in. A network that has its limit of connections loses
//! the one that has been idle longest. When the door is full, that of the network with the most connections is closed:
//! many connections of few addresses do not keep out anybody who has few.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::address::Network;

/// The place of one connection in the order of eviction, the longest without a complete request first.
pub type EvictionKey = u64;

/// Connections that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Those that no limit binds. Each counts as if it were the only one of an address: a proxy brings many clients.
    Unlimited,
    /// Those of one network.
    Network(Network),
}

impl Group {
    /// The groups of a connection from `address`; `None` if no limit binds it.
    pub fn all_of(address: Option<IpAddr>) -> impl Iterator<Item = Group> {
        let unlimited = address.is_none().then_some(Group::Unlimited);
        unlimited
            .into_iter()
            .chain(address.into_iter().flat_map(Network::all_of).map(Group::Network))
    }
}

/// All connections.
#[derive(Debug, Default)]
pub struct Eviction {
    last_eviction_key: EvictionKey,
    groups: HashMap<Group, Members>,
    /// The groups that can lose a connection; the last is the first to lose one.
    ranking: BTreeSet<Rank>,
}

#[derive(Debug, Default)]
struct Members {
    connections: usize,
    /// The slab keys of the connections that may be closed, in the order of eviction.
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
    /// None if the group has no connection to lose.
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
    /// The group of a connection from `address` that has no room for it, if each address may have `limit` connections.
    pub fn full_group(&self, address: Option<IpAddr>, limit: usize) -> Option<Group> {
        Group::all_of(address).find(|group| match group {
            Group::Unlimited => false,
            Group::Network(network) => {
                let connections = self.groups.get(group).map_or(0, |members| members.connections);
                connections >= limit.saturating_mul(network.multiple() as usize)
            }
        })
    }

    /// Counts a connection of `address`, which is `None` if no limit binds it. It is not evictable yet.
    pub fn enter(&mut self, address: Option<IpAddr>) {
        self.change(address, |members| members.connections += 1);
    }

    /// The connection is gone.
    pub fn leave(&mut self, address: Option<IpAddr>, eviction_key: EvictionKey) {
        self.change(address, |members| {
            members.connections -= 1;
            members.evictable.remove(&eviction_key);
        });
    }

    /// A new place at the end, for a connection just accepted or one whose request is complete.
    pub fn last_eviction_key(&mut self) -> EvictionKey {
        self.last_eviction_key += 1;
        self.last_eviction_key
    }

    /// The connection may be closed when room is needed.
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

    /// The request is whole and its answer not here: the connection is not to be closed.
    pub fn protect(&mut self, address: Option<IpAddr>, eviction_key: EvictionKey) {
        self.change(address, |members| {
            members.evictable.remove(&eviction_key);
        });
    }

    /// The connection gets a new place at the end, as its request is answered; returns it.
    pub fn renew(
        &mut self,
        address: Option<IpAddr>,
        eviction_key: EvictionKey,
        key: usize,
    ) -> EvictionKey {
        let renewed = self.last_eviction_key();
        self.change(address, |members| {
            members.evictable.remove(&eviction_key);
            members.evictable.insert(renewed, key);
        });
        renewed
    }

    /// The connection that has to make room when the door is full.
    pub fn first(&self) -> Option<usize> {
        self.first_of(self.ranking.last()?.group)
    }

    /// The connection that has to make room for another of its group.
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

    /// A door that is full with `size` connections, of which nobody asks anything.
    struct Silent {
        eviction: Eviction,
        size: usize,
        open: HashMap<usize, (Option<IpAddr>, EvictionKey)>,
        next: usize,
        closed: Vec<usize>,
    }

    fn silent(size: usize) -> Silent {
        let (eviction, open, closed) = Default::default();
        Silent { eviction, size, open, next: 0, closed }
    }

    impl Silent {
        /// What the listener does with a newcomer.
        fn connect(&mut self, address: &str) -> usize {
            let address = (address != "proxy").then(|| address.parse().expect("an address"));
            while let Some(full) = self.eviction.full_group(address, LIMIT) {
                self.close(self.eviction.first_of(full).expect("all are evictable"));
            }
            if self.open.len() == self.size {
                self.close(self.eviction.first().expect("all are evictable"));
            }
            let (key, eviction_key) = (self.next, self.eviction.last_eviction_key());
            self.next += 1;
            self.eviction.enter(address);
            self.eviction.make_evictable(address, eviction_key, key);
            self.open.insert(key, (address, eviction_key));
            key
        }

        fn close(&mut self, key: usize) {
            let (address, eviction_key) = self.open.remove(&key).expect("it is open");
            self.eviction.leave(address, eviction_key);
            self.closed.push(key);
        }
    }

    #[test]
    fn an_address_at_its_limit_loses_its_own_longest_idle_connection() {
        let mut door = silent(1024);
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
        let mut door = silent(10_000);
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
        let mut door = silent(4);
        let few = door.connect("192.0.2.1");
        let many = ["192.0.2.7"; 3].map(|address| door.connect(address));
        door.connect("192.0.2.2");
        door.connect("192.0.2.3");
        assert_eq!(door.closed, many[..2]);
        // All have one: the longest idle one goes.
        door.connect("192.0.2.4");
        assert_eq!(door.closed[2..], [few]);
    }

    #[test]
    fn a_proxy_counts_as_many_clients() {
        let mut door = silent(5);
        let proxy = ["proxy"; 3].map(|address| door.connect(address));
        let many = ["2001:db8::1", "2001:db8::2"].map(|address| door.connect(address));
        door.connect("192.0.2.1");
        assert_eq!(door.closed, many[..1]);
        door.connect("192.0.2.2");
        assert_eq!(door.closed[1..], proxy[..1]);
    }

    /// 10,000 connections a second for two seconds; the client needs 600 ms until its request is here.
    #[track_caller]
    fn check_newcomer(attacker: impl Fn(usize) -> String) {
        let mut door = silent(1024);
        (0..10_000).for_each(|index| _ = door.connect(&attacker(index)));
        let connection = door.connect("192.0.2.1");
        (0..6_000).for_each(|index| _ = door.connect(&attacker(index)));
        assert!(door.open.contains_key(&connection));
    }

    #[test]
    fn few_addresses_keep_nobody_out() {
        check_newcomer(|index| format!("198.51.100.{}", index % 20));
        check_newcomer(|index| format!("2001:db8:{:x}::1", index % 20));
        // Each with a /48, and each connection from a /64 of its own.
        check_newcomer(|index| format!("2001:db8:{:x}:{index:x}::1", index % 20));
    }
}
