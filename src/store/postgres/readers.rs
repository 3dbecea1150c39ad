//! A pool of connections that read. A broken one is replaced.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{Connection, Server};
use super::error::Error;

/// The pause before another attempt to reach the server.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Connections are opened when they are first needed.
pub struct Readers {
    server: Arc<Server>,
    connections_max: usize,
    /// The limit for a query, with the wait for a connection and all attempts.
    patience: Duration,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    pub fn new(server: Arc<Server>, connections_max: usize, patience: Duration) -> Readers {
        let (pool, returned) = Default::default();
        Readers { server, connections_max, patience, pool, returned }
    }

    /// Runs queries, again on a new connection if the one in the pool broke. They need not all see
    /// the same commit.
    pub fn read<T>(
        &self,
        mut query: impl FnMut(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            let error = match self.take(deadline) {
                Ok(mut taken) => {
                    let result = query(taken.connection());
                    match result {
                        Err(error) if error.breaks_connection() => {
                            // If the server restarted, the others are broken too.
                            taken.close_idle();
                            error
                        }
                        result => {
                            taken.put_back();
                            return result;
                        }
                    }
                }
                Err(error) if error.is_unreachable() => error,
                Err(error) => return Err(error),
            };
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(error);
            }
            thread::sleep(RETRY_PAUSE);
        }
    }

    fn take(&self, deadline: Instant) -> Result<Taken<'_>, Error> {
        let all_busy = |pool: &mut Pool| pool.idle.is_empty() && pool.open >= self.connections_max;
        let left = deadline.saturating_duration_since(Instant::now());
        let (mut pool, wait) = self
            .returned
            .wait_timeout_while(self.lock(), left, all_busy)
            .unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() {
            return Err(Error::TimedOut);
        }
        if let Some(mut connection) = pool.idle.pop() {
            connection.set_deadline(deadline);
            return Ok(Taken { readers: self, connection: Some(connection) });
        }
        pool.open += 1;
        drop(pool);
        // If this fails, its place becomes free.
        let mut taken = Taken { readers: self, connection: None };
        taken.connection = Some(self.server.connect(deadline)?);
        Ok(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the pool. Without a connection it is free again once this is dropped.
struct Taken<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Taken<'_> {
    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is set until it is put back or dropped")
    }

    fn put_back(mut self) {
        let mut pool = self.readers.lock();
        pool.idle.extend(self.connection.take());
        // Dropping this gives up a place, which the idle connection has.
        pool.open += 1;
    }

    fn close_idle(&self) {
        let mut pool = self.readers.lock();
        let idle = std::mem::take(&mut pool.idle);
        pool.open -= idle.len();
        drop(pool);
        drop(idle);
        self.readers.returned.notify_all();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.readers.lock().open -= 1;
        self.readers.returned.notify_one();
    }
}
