//! Who is at the door: the order in which connections make room, and how many each address has.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// The place of one connection in the order of eviction, the longest without a complete request first.
pub type EvictionKey = u64;

/// Everyone who is connected.
#[derive(Debug, Default)]
pub struct Eviction {
    next_eviction_key: EvictionKey,
    /// The connections that may be cut, by place.
    evictable: BTreeMap<EvictionKey, usize>,
    addresses: HashMap<IpAddr, usize>,
}

impl Eviction {
    /// Counts a connection of `address`; false, and not counted, if it has `limit` already. Those that come through a
    /// Unix socket have none, and are not counted.
    pub fn enter(&mut self, address: Option<IpAddr>, limit: usize) -> bool {
        let Some(address) = address else { return true };
        let count = self.addresses.entry(unit(address)).or_default();
        let room = *count < limit;
        if room {
            *count += 1;
        }
        room
    }

    /// The connection of `address` is gone.
    pub fn leave(&mut self, address: Option<IpAddr>, eviction_key: EvictionKey) {
        self.evictable.remove(&eviction_key);
        let Some(unit) = address.map(unit) else {
            return;
        };
        if let Some(count) = self.addresses.get_mut(&unit) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&unit);
            }
        }
    }

    /// A new place at the end, for a connection just accepted or one whose request is complete.
    pub fn last_eviction_key(&mut self) -> EvictionKey {
        self.next_eviction_key += 1;
        self.next_eviction_key
    }

    /// The connection may be cut when room is needed.
    pub fn make_evictable(&mut self, eviction_key: EvictionKey, key: usize) {
        self.evictable.insert(eviction_key, key);
    }

    /// The request is whole and its answer not here: the connection is not to be cut.
    pub fn protect(&mut self, eviction_key: EvictionKey) {
        self.evictable.remove(&eviction_key);
    }

    /// Who has to make room.
    pub fn first(&self) -> Option<usize> {
        self.evictable.first_key_value().map(|(_, key)| *key)
    }
}

/// What counts as one address: an IPv4 address, or a /64 of IPv6, which is what one line gets.
fn unit(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}
