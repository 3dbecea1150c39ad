//! How often one client may try to sign in. A client that tries too often holds up nobody else.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::error::Error;
use crate::address::Network;
use crate::config::SigninLimit;

/// Networks after which those that have their whole burst again are forgotten; about 10 MB.
const NETWORKS_MAX: usize = 100_000;
/// What an attempt costs a single address. One in a network of N times the limit costs that network the Nth part.
const COST: u32 = 4;

/// A token bucket for each network: see [`Network`].
pub struct SigninLimiter {
    limiter: Option<DefaultKeyedRateLimiter<Network>>,
    clock: DefaultClock,
}

impl SigninLimiter {
    /// Buckets of that size for a single address.
    pub fn new(limit: SigninLimit) -> SigninLimiter {
        let cells = |attempts: u32| NonZeroU32::new(attempts.saturating_mul(COST));
        let quota = cells(limit.burst)
            .zip(cells(limit.per_second))
            .map(|(burst, per_second)| Quota::per_second(per_second).allow_burst(burst));
        SigninLimiter { limiter: quota.map(RateLimiter::keyed), clock: DefaultClock::default() }
    }

    /// Counts an attempt in every network of the client, from the smallest on, so that one that is refused costs the
    /// neighbours nothing. Clients of unknown address are not limited.
    ///
    /// # Errors
    /// 429 if there were too many.
    pub fn count(&self, address: Option<IpAddr>) -> Result<(), Error> {
        let (Some(limiter), Some(address)) = (&self.limiter, address) else {
            return Ok(());
        };
        if limiter.len() > NETWORKS_MAX {
            limiter.retain_recent();
        }
        for network in Network::all_of(address) {
            let cost = NonZeroU32::new(COST / network.multiple()).unwrap_or(NonZeroU32::MIN);
            // A burst has room for one attempt.
            if let Ok(Err(refused)) = limiter.check_key_n(&network, cost) {
                let wait = refused.wait_time_from(self.clock.now());
                return Err(Error::TooManyRequests { retry_after: wait.as_secs() + 1 });
            }
        }
        Ok(())
    }
}
