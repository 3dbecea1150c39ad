//! Remembers tokens that Google refused, so each costs one call.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::token::TokenHash;

/// A refusal is final, but memory is limited. After this time Google may be asked again.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// About 1 MB. Beyond it, the oldest refusal is forgotten first.
const TOKENS_MAX: usize = 10_000;

/// Hashes of refused tokens, oldest first.
#[derive(Default)]
pub struct RejectedTokens(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    hashes: HashSet<TokenHash>,
    order: VecDeque<(Instant, TokenHash)>,
}

impl RejectedTokens {
    /// Whether Google refused the token less than ten minutes before `at`.
    pub fn contains(&self, token: &TokenHash, at: Instant) -> bool {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget(|memory, oldest| {
            memory.hashes.len() > TOKENS_MAX || at.duration_since(oldest) >= REMEMBERED
        });
        memory.hashes.contains(token)
    }

    /// Remembers that Google refused the token at that time.
    pub fn insert(&self, token: TokenHash, at: Instant) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.hashes.insert(token) {
            memory.order.push_back((at, token));
        }
        memory.forget(|memory, _| memory.hashes.len() > TOKENS_MAX);
    }
}

impl Memory {
    fn forget(&mut self, stale: impl Fn(&Memory, Instant) -> bool) {
        while let Some(&(at, token)) = self.order.front() {
            if !stale(self, at) {
                break;
            }
            self.order.pop_front();
            self.hashes.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::IdToken;

    fn hash(number: usize) -> TokenHash {
        IdToken::parse(&format!("t{number}")).expect("of possible shape").hash()
    }

    #[test]
    fn forgets_after_ten_minutes() {
        let (refused, start) = (RejectedTokens::default(), Instant::now());
        refused.insert(hash(1), start);
        assert!(refused.contains(&hash(1), start + REMEMBERED - Duration::from_millis(1)));
        assert!(!refused.contains(&hash(2), start));
        assert!(!refused.contains(&hash(1), start + REMEMBERED));
    }

    #[test]
    fn forgets_the_oldest_when_full() {
        let (refused, start) = (RejectedTokens::default(), Instant::now());
        (0..=TOKENS_MAX).for_each(|number| refused.insert(hash(number), start));
        assert!(!refused.contains(&hash(0), start));
        assert!(refused.contains(&hash(1), start));
        assert!(refused.contains(&hash(TOKENS_MAX), start));
    }
}
