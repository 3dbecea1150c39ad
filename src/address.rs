//! Client addresses, and the networks by which limits count them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or an IPv6 /64, /56 or /48: what a provider assigns to one line, one home or
/// one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// One address.
    Ipv4(Ipv4Addr),
    /// All addresses with the same first bits.
    Ipv6 {
        /// The first address of the network.
        first: Ipv6Addr,
        /// 64, 56 or 48.
        bits: u8,
    },
}

impl Network {
    /// The networks that contain `address`, smallest first: one for IPv4, three for IPv6.
    pub fn all_of(address: IpAddr) -> impl DoubleEndedIterator<Item = Network> {
        let networks = match address.to_canonical() {
            IpAddr::V4(address) => [Some(Network::Ipv4(address)), None, None],
            IpAddr::V6(address) => [64, 56, 48].map(|bits| {
                let first = Ipv6Addr::from_bits(address.to_bits() >> (128 - bits) << (128 - bits));
                Some(Network::Ipv6 { first, bits })
            }),
        };
        networks.into_iter().flatten()
    }

    /// How many times the limit of a single address applies to this network: 1 for an IPv4 address
    /// or a /64, 2 for a /56, 4 for a /48. Clients that share a network have a higher limit than
    /// one alone, but not one each.
    pub fn multiple(self) -> u32 {
        match self {
            Network::Ipv6 { bits: 48, .. } => 4,
            Network::Ipv6 { bits: 56, .. } => 2,
            Network::Ipv6 { .. } | Network::Ipv4(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &[(&str, u32)]) {
        let networks = Network::all_of(address.parse().expect("an address")).map(|network| {
            let text = match network {
                Network::Ipv4(address) => address.to_string(),
                Network::Ipv6 { first, bits } => format!("{first}/{bits}"),
            };
            (text, network.multiple())
        });
        let expected = expected.iter().map(|(text, multiple)| (text.to_string(), *multiple));
        assert_eq!(networks.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn networks_of_an_address() {
        check("192.0.2.7", &[("192.0.2.7", 1)]);
        check("::ffff:192.0.2.7", &[("192.0.2.7", 1)]);
        check(
            "2001:db8:1:2345:6::7",
            &[("2001:db8:1:2345::/64", 1), ("2001:db8:1:2300::/56", 2), ("2001:db8:1::/48", 4)],
        );
        check("::1", &[("::/64", 1), ("::/56", 2), ("::/48", 4)]);
    }
}
