//! At most so many calls at once, and at most so many waiting. Clients take turns by their networks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::address::Network;

/// A counting semaphore with a bounded queue.
///
/// A network may run another call only while it runs no more than are free: one alone gets half of them, and there is
/// always something left for the next. A free turn goes to the network that has the fewest, and to the one that has
/// waited longest among equals. When the queue is full, the network with the most in it loses its newest.
pub struct CallLimiter {
    running_max: usize,
    waiting_max: usize,
    state: Mutex<State>,
}

struct State {
    running_max: usize,
    running: Load,
    waiting: Load,
    /// The oldest first.
    queue: Vec<Waiter>,
}

/// How many there are of each network.
#[derive(Default)]
struct Load {
    total: usize,
    by_network: HashMap<Option<Network>, usize>,
}

/// The networks that a client is in, the widest first. Clients of unknown address are one network.
type Networks = Vec<Option<Network>>;

struct Waiter {
    networks: Networks,
    seat: Arc<Seat>,
}

#[derive(Default)]
struct Seat {
    /// Whether it may run.
    outcome: OnceLock<bool>,
    decided: Condvar,
}

/// Leave to run; dropping it lets the next one in.
pub struct Permit<'a> {
    limiter: &'a CallLimiter,
    networks: Networks,
}

impl CallLimiter {
    /// A limiter that lets `running_max` run and `waiting_max` wait.
    pub fn new(running_max: usize, waiting_max: usize) -> CallLimiter {
        let (running, waiting) = (Load::default(), Load::default());
        let state = State { running_max, running, waiting, queue: Vec::new() };
        CallLimiter { running_max, waiting_max, state: Mutex::new(state) }
    }

    /// How many may be running or waiting.
    pub fn capacity(&self) -> usize {
        self.running_max + self.waiting_max
    }

    /// How many are running and how many waiting.
    pub fn occupancy(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running.total, state.waiting.total)
    }

    /// Waits for a permit until the deadline; `None` if that passes, or too many wait.
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
        let seat = state.wait(networks.clone());
        if state.queue.len() > self.waiting_max {
            state.dismiss_one();
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        let is_undecided = |_: &mut State| seat.outcome.get().is_none();
        let waited = seat.decided.wait_timeout_while(state, patience, is_undecided);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if seat.outcome.get().is_none() {
            let place = state.queue.iter().position(|waiter| Arc::ptr_eq(&waiter.seat, &seat));
            place.into_iter().for_each(|place| state.decide(place, false));
        }
        let may_run = seat.outcome.get().is_some_and(|may_run| *may_run);
        may_run.then(|| Permit { limiter: self, networks })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.running.remove(&self.networks);
        state.admit();
    }
}

impl State {
    fn may_run(&self, networks: &Networks) -> bool {
        let free = self.running_max - self.running.total;
        free > 0 && self.running.of(networks)[0] <= free
    }

    fn wait(&mut self, networks: Networks) -> Arc<Seat> {
        let seat = Arc::new(Seat::default());
        self.waiting.add(&networks);
        self.queue.push(Waiter { networks, seat: seat.clone() });
        seat
    }

    /// Lets in all who may run.
    fn admit(&mut self) {
        loop {
            let waiters = self.queue.iter().enumerate();
            let next = waiters
                .filter(|(_, waiter)| self.may_run(&waiter.networks))
                .min_by_key(|(_, waiter)| self.running.of(&waiter.networks));
            let Some((place, waiter)) = next else { return };
            let networks = waiter.networks.clone();
            self.running.add(&networks);
            self.decide(place, true);
        }
    }

    /// Turns away the newest of the network with the most.
    fn dismiss_one(&mut self) {
        let waiters = self.queue.iter().enumerate();
        let greediest = waiters.max_by_key(|(_, waiter)| self.waiting.of(&waiter.networks));
        if let Some((place, _)) = greediest {
            self.decide(place, false);
        }
    }

    fn decide(&mut self, place: usize, may_run: bool) {
        let Waiter { networks, seat } = self.queue.remove(place);
        self.waiting.remove(&networks);
        // It is set once, for who is decided about leaves the queue.
        let _ = seat.outcome.set(may_run);
        seat.decided.notify_one();
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

    /// How many each of those networks has.
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

    /// As many permits as it gets without waiting, from addresses that differ in that segment.
    fn all_at_once<'a>(limiter: &'a CallLimiter, address_of: &str) -> Vec<Permit<'a>> {
        let client = |number: usize| address(&address_of.replace('N', &format!("{number:x}")));
        (1..).map_while(|number| limiter.enter(client(number), Instant::now())).collect()
    }

    #[test]
    fn each_network_leaves_turns_to_others() {
        #[track_caller]
        fn check(clients: &[(&str, usize)]) {
            let limiter = CallLimiter::new(8, 16);
            let mut held = Vec::new();
            for (address, expected) in clients {
                let permits = all_at_once(&limiter, address);
                assert_eq!(permits.len(), *expected, "{address}");
                held.push(permits);
            }
            drop(held);
            assert_eq!(limiter.occupancy(), (0, 0));
        }
        check(&[("192.0.2.1", 5), ("192.0.2.2", 2), ("192.0.2.3", 1), ("192.0.2.4", 0)]);
        check(&[("2001:db8:1:N::1", 5), ("2001:db8:1:N::2", 0), ("2001:db8:2:N::1", 2)]);
        check(&[("2001:db8:1:100::N", 5), ("2001:db8:1:200::N", 0), ("192.0.2.1", 2)]);
    }

    #[test]
    fn clients_of_unknown_address_are_one() {
        let limiter = CallLimiter::new(8, 16);
        let permits: Vec<_> = (0..).map_while(|_| limiter.enter(None, Instant::now())).collect();
        assert_eq!((permits.len(), all_at_once(&limiter, "192.0.2.1").len()), (5, 2));
    }

    #[test]
    fn one_call_at_a_time_is_for_anybody() {
        let limiter = CallLimiter::new(1, 2);
        for _ in 0..3 {
            assert_eq!(all_at_once(&limiter, "192.0.2.1").len(), 1);
            assert_eq!(all_at_once(&limiter, "2001:db8::N").len(), 1);
        }
    }

    #[test]
    fn a_full_queue_dismisses_the_newest_of_the_greediest() {
        let limiter = &CallLimiter::new(1, 3);
        let far = Instant::now() + Duration::from_secs(60);
        let running = limiter.enter(address("192.0.2.1"), far);
        let until_waiting = |count| {
            while limiter.occupancy().1 != count {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let wait = |text: &'static str| {
                scope.spawn(move || limiter.enter(address(text), far).is_some())
            };
            let first = wait("2001:db8:1:1::1");
            until_waiting(1);
            let _second = wait("2001:db8:1:2::1");
            until_waiting(2);
            let third = wait("2001:db8:1:3::1");
            until_waiting(3);
            let fourth = wait("192.0.2.2");
            assert!(!third.join().expect("no panic"), "it makes room for another network");
            until_waiting(3);
            assert!(limiter.enter(address("2001:db8:1:4::1"), far).is_none(), "it is one too many");
            drop(running);
            assert!(first.join().expect("no panic") && fourth.join().expect("no panic"));
        });
        assert_eq!(limiter.occupancy(), (0, 0));
    }

    #[test]
    fn a_free_turn_goes_to_the_network_with_the_fewest() {
        let limiter = &CallLimiter::new(3, 6);
        let far = Instant::now() + Duration::from_secs(60);
        let mut held = all_at_once(limiter, "2001:db8:1:N::1");
        held.extend(all_at_once(limiter, "192.0.2.1"));
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
