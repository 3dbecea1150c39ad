//! Limits how many calls run at once and how many wait. Networks take turns.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::address::Network;

/// A counting semaphore with a bounded queue.
///
/// The last eighth of the permits is reserved for networks that hold none. So one network alone can
/// use nearly all of them, and the first call of another still runs at once. A free permit goes to
/// the network that holds the fewest; among equals, to the call that has waited longest. When the
/// queue is full, the network with the most waiting calls loses its newest.
pub struct CallLimiter(Mutex<State>);

struct State {
    running_max: usize,
    waiting_max: usize,
    /// Permits for networks that hold none.
    reserved: usize,
    running: Load,
    waiting: Load,
    /// Oldest first.
    queue: Vec<Waiter>,
}

/// How many calls there are of each network.
#[derive(Default)]
struct Load {
    total: usize,
    by_network: HashMap<Option<Network>, usize>,
}

/// The networks that a client is in, widest first. `None` is this machine and the trusted proxies.
type Networks = Vec<Option<Network>>;

struct Waiter {
    networks: Networks,
    turn: Arc<Turn>,
}

#[derive(Default)]
struct Turn {
    /// Whether the call may run. Set once, when the waiter leaves the queue.
    may_run: OnceLock<bool>,
    decided: Condvar,
}

/// Permission to run one call. Dropping it frees the place for the next.
pub struct Permit<'a> {
    limiter: &'a CallLimiter,
    networks: Networks,
}

impl CallLimiter {
    /// A limiter that lets `running_max` calls run and `waiting_max` wait.
    pub fn new(running_max: usize, waiting_max: usize) -> CallLimiter {
        // Of two permits, half would be reserved.
        let reserved = if running_max > 2 { running_max.div_ceil(8) } else { 0 };
        let (running, waiting) = (Load::default(), Load::default());
        let queue = Vec::new();
        CallLimiter(Mutex::new(State {
            running_max,
            waiting_max,
            reserved,
            running,
            waiting,
            queue,
        }))
    }

    /// How many calls may run or wait.
    pub fn capacity(&self) -> usize {
        let state = self.lock();
        state.running_max + state.waiting_max
    }

    /// How many calls are running and how many are waiting.
    pub fn occupancy(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running.total, state.waiting.total)
    }

    /// Waits for a permit until the deadline. Returns `None` if it passes or too many calls wait.
    ///
    /// Without an address, a client may also use the reserved permits.
    pub fn enter(&self, client: Option<IpAddr>, deadline: Instant) -> Option<Permit<'_>> {
        let networks: Networks = match client {
            Some(address) => Network::all_of(address).rev().map(Some).collect(),
            None => vec![None],
        };
        let mut state = self.lock();
        if state.may_run(&networks) {
            state.running.add(&networks);
            return Some(Permit { limiter: self, networks });
        }
        let turn = state.wait(networks.clone());
        let patience = deadline.saturating_duration_since(Instant::now());
        let is_undecided = |_: &mut State| turn.may_run.get().is_none();
        let waited = turn.decided.wait_timeout_while(state, patience, is_undecided);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(index) = state.queue.iter().position(|waiter| Arc::ptr_eq(&waiter.turn, &turn))
        {
            state.decide(index, false);
        }
        let may_run = turn.may_run.get().is_some_and(|may_run| *may_run);
        may_run.then(|| Permit { limiter: self, networks })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.running.remove(&self.networks);
        state.run_waiting();
    }
}

impl State {
    fn may_run(&self, networks: &Networks) -> bool {
        let free = self.running_max - self.running.total;
        let may_use_reserved = networks[0].is_none() || self.running.of(networks)[0] == 0;
        free > self.reserved || free > 0 && may_use_reserved
    }

    fn run_waiting(&mut self) {
        loop {
            let waiters = self.queue.iter().enumerate();
            let next = waiters
                .filter(|(_, waiter)| self.may_run(&waiter.networks))
                .min_by_key(|(_, waiter)| self.running.of(&waiter.networks));
            let Some((index, waiter)) = next else { return };
            self.running.add(&waiter.networks);
            self.decide(index, true);
        }
    }

    fn wait(&mut self, networks: Networks) -> Arc<Turn> {
        let turn = Arc::new(Turn::default());
        self.waiting.add(&networks);
        self.queue.push(Waiter { networks, turn: turn.clone() });
        if self.queue.len() > self.waiting_max {
            let waiters = self.queue.iter().enumerate();
            let newest = waiters.max_by_key(|(_, waiter)| self.waiting.of(&waiter.networks));
            newest.map(|(index, _)| index).into_iter().for_each(|index| self.decide(index, false));
        }
        turn
    }

    fn decide(&mut self, index: usize, may_run: bool) {
        let Waiter { networks, turn } = self.queue.remove(index);
        self.waiting.remove(&networks);
        let _ = turn.may_run.set(may_run);
        turn.decided.notify_one();
    }
}

impl Load {
    fn add(&mut self, networks: &Networks) {
        self.total += 1;
        for network in networks {
            *self.by_network.entry(*network).or_default() += 1;
        }
    }

    fn remove(&mut self, networks: &Networks) {
        self.total -= 1;
        for network in networks {
            if let Some(count) = self.by_network.get_mut(network) {
                *count -= 1;
                if *count == 0 {
                    self.by_network.remove(network);
                }
            }
        }
    }

    /// How many calls each of those networks has.
    fn of(&self, networks: &Networks) -> Vec<usize> {
        networks.iter().map(|network| *self.by_network.get(network).unwrap_or(&0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    /// Takes permits until one would have to wait, each for an address with another number in the
    /// place of N.
    fn take_all<'a>(limiter: &'a CallLimiter, addresses: &str) -> Vec<Permit<'a>> {
        let client = |number: usize| address(&addresses.replace('N', &format!("{number:x}")));
        (1..).map_while(|number| limiter.enter(client(number), Instant::now())).collect()
    }

    fn take_all_nearby(limiter: &CallLimiter) -> Vec<Permit<'_>> {
        (1..).map_while(|_| limiter.enter(None, Instant::now())).collect()
    }

    #[test]
    fn one_network_leaves_an_eighth_to_those_that_have_none() {
        #[track_caller]
        fn check(running_max: usize, clients: &[(&str, usize)]) {
            let limiter = CallLimiter::new(running_max, 16);
            let mut held = Vec::new();
            for (address, expected) in clients {
                let permits = take_all(&limiter, address);
                assert_eq!(permits.len(), *expected, "{address}");
                held.push(permits);
            }
            drop(held);
            assert_eq!(limiter.occupancy(), (0, 0));
        }
        check(64, &[("192.0.2.1", 56), ("192.0.2.2", 1), ("192.0.2.3", 1), ("192.0.2.1", 0)]);
        check(16, &[("192.0.2.1", 14), ("192.0.2.2", 1), ("192.0.2.3", 1), ("192.0.2.4", 0)]);
        check(8, &[("2001:db8:1:N::1", 7), ("2001:db8:1:N::2", 0), ("2001:db8:2:N::1", 1)]);
        check(9, &[("2001:db8:1:100::N", 7), ("2001:db8:1:200::N", 0), ("192.0.2.1", 1)]);
        check(3, &[("192.0.2.1", 2), ("192.0.2.2", 1)]);
        check(2, &[("192.0.2.1", 2), ("192.0.2.2", 0)]);
    }

    #[test]
    fn nearby_clients_may_use_all() {
        let limiter = CallLimiter::new(8, 16);
        assert_eq!(take_all_nearby(&limiter).len(), 8);
        let held = take_all(&limiter, "192.0.2.1");
        assert_eq!((held.len(), take_all_nearby(&limiter).len()), (7, 1));
    }

    #[test]
    fn a_single_permit_is_for_anybody() {
        let limiter = CallLimiter::new(1, 2);
        for _ in 0..3 {
            assert_eq!(take_all(&limiter, "192.0.2.1").len(), 1);
            assert_eq!(take_all(&limiter, "2001:db8::N").len(), 1);
        }
    }

    #[test]
    fn a_full_queue_drops_the_newest_of_the_network_with_the_most() {
        let limiter = &CallLimiter::new(1, 3);
        let far = Instant::now() + Duration::from_secs(60);
        let running = limiter.enter(address("192.0.2.1"), far);
        let until_so_many_wait = |count| {
            while limiter.occupancy().1 != count {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let wait = |text: &'static str| {
                scope.spawn(move || limiter.enter(address(text), far).is_some())
            };
            let first = wait("2001:db8:1:1::1");
            until_so_many_wait(1);
            let _second = wait("2001:db8:1:2::1");
            until_so_many_wait(2);
            let third = wait("2001:db8:1:3::1");
            until_so_many_wait(3);
            let fourth = wait("192.0.2.2");
            assert!(!third.join().expect("no panic"), "it should make room for another network");
            until_so_many_wait(3);
            assert!(
                limiter.enter(address("2001:db8:1:4::1"), far).is_none(),
                "the queue should be full"
            );
            drop(running);
            assert!(first.join().expect("no panic") && fourth.join().expect("no panic"));
        });
        assert_eq!(limiter.occupancy(), (0, 0));
    }

    #[test]
    fn a_free_turn_goes_to_the_network_with_the_fewest() {
        let limiter = &CallLimiter::new(3, 6);
        let far = Instant::now() + Duration::from_secs(60);
        let mut held = take_all(limiter, "2001:db8:1:N::1");
        held.extend(take_all(limiter, "192.0.2.1"));
        assert_eq!(held.len(), 3);
        thread::scope(|scope| {
            let (sender, order) = std::sync::mpsc::channel();
            let wait = |text: &'static str, count| {
                let sender = sender.clone();
                scope.spawn(move || {
                    let permit = limiter.enter(address(text), far);
                    let _ = sender.send(text);
                    // Held until the end.
                    permit.map(std::mem::forget)
                });
                while limiter.occupancy().1 != count {
                    thread::yield_now();
                }
            };
            wait("2001:db8:1:9::1", 1);
            wait("192.0.2.1", 2);
            wait("192.0.2.9", 3);
            held.remove(0);
            assert_eq!(order.recv(), Ok("192.0.2.9"));
            held.remove(0);
            assert_eq!(order.recv(), Ok("2001:db8:1:9::1"));
            held.clear();
            assert_eq!(order.recv(), Ok("192.0.2.1"));
        });
    }
}
