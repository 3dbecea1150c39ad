//! At most so many at once, and at most so many waiting.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// A counting semaphore with a bounded queue.
pub struct CallLimiter {
    running_max: usize,
    waiting_max: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: usize,
}

/// Leave to run; dropping it lets the next one in.
pub struct Permit<'a>(&'a CallLimiter);

impl CallLimiter {
    /// A gate that lets `running_max` run and `waiting_max` wait.
    pub fn new(running_max: usize, waiting_max: usize) -> CallLimiter {
        CallLimiter { running_max, waiting_max, state: Mutex::default(), freed: Condvar::new() }
    }

    /// How many may be running or waiting.
    pub fn capacity(&self) -> usize {
        self.running_max + self.waiting_max
    }

    /// How many are running and how many waiting.
    pub fn occupancy(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.running, state.waiting)
    }

    /// Waits for a permit until the deadline; `None` if too many wait already, or it was too long.
    pub fn enter(&self, deadline: Instant) -> Option<Permit<'_>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running >= self.running_max {
            if state.waiting >= self.waiting_max {
                return None;
            }
            state.waiting += 1;
            let patience = deadline.saturating_duration_since(Instant::now());
            state = self
                .freed
                .wait_timeout_while(state, patience, |state| state.running >= self.running_max)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.waiting -= 1;
            if state.running >= self.running_max {
                return None;
            }
        }
        state.running += 1;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
        self.0.freed.notify_one();
    }
}
