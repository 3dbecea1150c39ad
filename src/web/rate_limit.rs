//! How often one client address may try to sign in. One that tries too often holds up nobody else.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::SigninLimit;
use crate::error::Error;

/// Addresses after which those that have their whole burst again are forgotten; about 10 MB.
const ADDRESSES_MAX: usize = 100_000;

/// A token bucket for each client address.
pub struct SigninLimiter {
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl SigninLimiter {
    /// Buckets of that size.
    pub fn new(limit: SigninLimit) -> SigninLimiter {
        let quota = |burst, per_second| Quota::per_second(per_second).allow_burst(burst);
        let sizes = NonZeroU32::new(limit.burst).zip(NonZeroU32::new(limit.per_second));
        SigninLimiter {
            limiter: sizes.map(|(burst, per_second)| RateLimiter::keyed(quota(burst, per_second))),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt. Clients whose address nobody knows cannot be told apart and are not limited.
    ///
    /// # Errors
    /// 429 if that address has made too many.
    pub fn count(&self, address: Option<IpAddr>) -> Result<(), Error> {
        let (Some(limiter), Some(address)) = (&self.limiter, address) else {
            return Ok(());
        };
        if limiter.len() > ADDRESSES_MAX {
            limiter.retain_recent();
        }
        limiter.check_key(&bucket(address)).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            Error::TooManyRequests { retry_after: wait.as_secs() + 1 }
        })
    }
}

/// A home or a server has a whole /64 of IPv6, so that counts as one address.
fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &str) {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(bucket(parse(address)), parse(expected));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("2001:db8:1:3::1", "2001:db8:1:3::");
    }
}
