//! Rate limits by client address.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::error::Error;
use super::settings::RateLimit;
use crate::address::Network;

/// Beyond this number (about 10 MB), networks whose burst is whole again are forgotten.
const NETWORKS_MAX: usize = 100_000;
/// The cost of an attempt for a single address. A network with N times the limit pays an Nth.
const COST: u32 = 4;

/// A token bucket for each [`Network`].
pub struct RateLimiter {
    limiter: Option<DefaultKeyedRateLimiter<Network>>,
    clock: DefaultClock,
}

impl RateLimiter {
    /// `limit` applies to a single address; larger networks have a multiple of it.
    pub fn new(limit: RateLimit) -> RateLimiter {
        let cells = |attempts: u32| NonZeroU32::new(attempts.saturating_mul(COST));
        let quota = cells(limit.burst)
            .zip(cells(limit.per_second))
            .map(|(burst, per_second)| Quota::per_second(per_second).allow_burst(burst));
        RateLimiter {
            limiter: quota.map(governor::RateLimiter::keyed),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt in every network of the client, the smallest first, so a limited client
    /// costs its neighbours nothing. Without an address there is no limit.
    ///
    /// # Errors
    /// 429 if there were too many attempts.
    pub fn count(&self, address: Option<IpAddr>) -> Result<(), Error> {
        let (Some(limiter), Some(address)) = (&self.limiter, address) else {
            return Ok(());
        };
        if limiter.len() > NETWORKS_MAX {
            limiter.retain_recent();
        }
        for network in Network::all_of(address) {
            let cost = NonZeroU32::new(COST / network.multiple()).unwrap_or(NonZeroU32::MIN);
            // The outer error cannot occur: every burst has room for one attempt.
            if let Ok(Err(limited)) = limiter.check_key_n(&network, cost) {
                let wait = limited.wait_time_from(self.clock.now());
                return Err(Error::TooManyRequests { retry_after: wait.as_secs() + 1 });
            }
        }
        Ok(())
    }
}
