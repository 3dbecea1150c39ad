//! At most one exchange per token at a time: later requests share the outcome of the first.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::Error;
use crate::token::TokenHash;

/// The exchanges in progress.
#[derive(Default)]
pub struct SingleFlight(Mutex<HashMap<TokenHash, Arc<Flight>>>);

#[derive(Default)]
struct Flight {
    outcome: Mutex<Option<Result<(), Error>>>,
    done: Condvar,
}

impl SingleFlight {
    /// Runs the exchange of that token, or waits for the one in progress. Exchanges have their own
    /// deadline.
    pub fn share(
        &self,
        token: TokenHash,
        exchange: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut in_progress = lock(&self.0);
        if let Some(flight) = in_progress.get(&token).cloned() {
            drop(in_progress);
            let outcome =
                flight.done.wait_while(lock(&flight.outcome), |outcome| outcome.is_none());
            return outcome.unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(Ok(()));
        }
        let flight = Arc::new(Flight::default());
        in_progress.insert(token, flight.clone());
        drop(in_progress);

        let outcome = exchange();
        lock(&self.0).remove(&token);
        *lock(&flight.outcome) = Some(outcome.clone());
        flight.done.notify_all();
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
