//! The threads that write: one queue, and one transaction for each task. PostgreSQL lets commits
//! that come at once share a sync of the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{Connection, Durability, Server};
use super::error::Error;
use crate::store::StoreError;

/// Threads, each with a connection. They start when they are first needed.
const THREADS_MAX: usize = 8;
/// When the queue is full, callers of `write` wait, and work for `write_later` is dropped.
const QUEUE_MAX: usize = 1024;
/// How long a caller waits, in the queue too.
const CALLER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a task waits for a server that cannot be reached, so the queue stays short.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The pause after the first conflict with another transaction, and one more for each that follows.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);
/// After the other transaction is done, the work takes another course. More conflicts are a fault.
const CONFLICTS_MAX: u32 = 20;
/// Work that nobody waits for is collected for this long.
const LATER_WAIT: Duration = Duration::from_secs(1);
/// Tasks that one thread takes at once.
const BATCH_MAX: usize = 256;
/// How long dropping this waits for tasks under way. A commit may hang.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Works inside a transaction, perhaps several times.
pub type Work = Box<dyn FnMut(&mut Connection) -> Result<(), Error> + Send>;

/// A handle to the threads. Dropping it finishes the queue first, unless the server hangs.
pub struct Writers(Arc<Shared>);

struct Shared {
    server: Arc<Server>,
    queue: Mutex<Queue>,
    /// There is a task to take.
    filled: Condvar,
    /// There is room in the queue, or a thread has done its tasks.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    /// How many of them have a caller that waits.
    awaited: usize,
    threads: usize,
    /// Threads that wait for a task.
    idle: usize,
    is_closed: bool,
}

struct Task {
    work: Work,
    caller: Option<Caller>,
    queued_at: Instant,
}

/// The caller of `write`.
struct Caller {
    reply: SyncSender<Result<(), StoreError>>,
    /// Whether it no longer waits. Then the task is not begun.
    has_left: Arc<AtomicBool>,
}

impl Writers {
    pub fn new(server: Arc<Server>) -> Writers {
        let (queue, filled, emptied) = Default::default();
        Writers(Arc::new(Shared { server, queue, filled, emptied }))
    }

    /// Does the work and returns once it is on disk. Failed work changes nothing.
    pub fn write(&self, work: Work) -> Result<(), StoreError> {
        let deadline = Instant::now() + CALLER_PATIENCE;
        let (reply, answer) = sync_channel(1);
        let has_left = Arc::<AtomicBool>::default();
        let caller = Caller { reply, has_left: has_left.clone() };
        let task = Task { work, caller: Some(caller), queued_at: Instant::now() };
        let queue = self.0.wait_until(deadline, |queue| queue.tasks.len() < QUEUE_MAX);
        let mut queue = queue
            .ok_or_else(|| StoreError("database: too much is waiting to be written".into()))?;
        queue.tasks.push_back(task);
        queue.awaited += 1;
        self.0.wake(&mut queue);
        drop(queue);
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => {
                Err(StoreError("database: nothing can be written".into()))
            }
            Err(RecvTimeoutError::Timeout) => {
                has_left.store(true, Ordering::Relaxed);
                Err(StoreError("database: PostgreSQL did not confirm a write in time, so its outcome is unknown".into()))
            }
        }
    }

    /// Does the work soon, without waiting. Drops it and returns false if the queue is full.
    pub fn write_later(&self, work: Work) -> bool {
        let mut queue = self.0.lock();
        if queue.tasks.len() >= QUEUE_MAX {
            drop(queue);
            log::warn!("not recorded: too much is waiting to be written");
            return false;
        }
        queue.tasks.push_back(Task { work, caller: None, queued_at: Instant::now() });
        self.0.wake(&mut queue);
        true
    }

    /// Returns when all earlier work is done, or when it takes too long.
    pub fn flush(&self) {
        let deadline = Instant::now() + CALLER_PATIENCE;
        // A task with a caller hurries those before it.
        let _ = self.write(Box::new(|_| Ok(())));
        drop(
            self.0.wait_until(deadline, |queue| {
                queue.tasks.is_empty() && queue.idle == queue.threads
            }),
        );
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.filled.notify_all();
        drop(self.0.wait_until(Instant::now() + STOP_PATIENCE, |queue| queue.threads == 0));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if it does not become so in time.
    fn wait_until(
        &self,
        deadline: Instant,
        is_so: impl Fn(&Queue) -> bool,
    ) -> Option<MutexGuard<'_, Queue>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let (queue, wait) = self
            .emptied
            .wait_timeout_while(self.lock(), left, |queue| !is_so(queue))
            .unwrap_or_else(PoisonError::into_inner);
        (!wait.timed_out()).then_some(queue)
    }

    /// Has a thread look at the queue, a new one if the others have enough to do.
    fn wake(self: &Arc<Self>, queue: &mut Queue) {
        if queue.tasks.len() <= queue.idle || queue.threads >= THREADS_MAX {
            return self.filled.notify_one();
        }
        let shared = self.clone();
        let thread = thread::Builder::new().name("store-writer".into());
        match thread.spawn(move || shared.run()) {
            Ok(_) => queue.threads += 1,
            Err(error) => log::error!("cannot start a thread: {error}"),
        }
    }

    fn run(&self) {
        let mut connection = None;
        while let Some(tasks) = self.take() {
            for task in tasks {
                self.perform(&mut connection, task);
            }
        }
    }

    /// Takes the first tasks, up to one with a caller; so tasks are done in the order in which one
    /// caller queues them. `None` at the end.
    fn take(&self) -> Option<Vec<Task>> {
        let mut queue = self.lock();
        queue.idle += 1;
        self.emptied.notify_all();
        loop {
            let due = queue.tasks.front().map(|first| first.queued_at + LATER_WAIT);
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if queue.awaited > 0 || queue.is_closed || left.is_some_and(|left| left.is_zero()) {
                break;
            }
            queue = match left {
                None => self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        queue.idle -= 1;
        let mut taken = Vec::new();
        while taken.len() < BATCH_MAX
            && let Some(task) = queue.tasks.pop_front()
        {
            let is_awaited = task.caller.is_some();
            taken.push(task);
            if is_awaited {
                queue.awaited -= 1;
                break;
            }
        }
        if taken.is_empty() {
            queue.threads -= 1;
        }
        self.emptied.notify_all();
        (!taken.is_empty()).then_some(taken)
    }

    fn perform(&self, connection: &mut Option<Connection>, mut task: Task) {
        let durability = match &task.caller {
            Some(caller) if caller.has_left.load(Ordering::Relaxed) => return,
            Some(_) => Durability::OnDisk,
            None => Durability::Later,
        };
        let deadline = Instant::now().max(task.queued_at) + CALLER_PATIENCE;
        let result = self.commit(connection, durability, deadline, &mut task.work);
        match (task.caller, result) {
            // The caller may have left.
            (Some(caller), result) => drop(caller.reply.send(result)),
            (None, Err(error)) => log::warn!("not recorded: {error}"),
            (None, Ok(())) => {}
        }
    }

    /// Does the work in a transaction, again after a conflict or on a new connection.
    fn commit(
        &self,
        slot: &mut Option<Connection>,
        durability: Durability,
        deadline: Instant,
        work: &mut Work,
    ) -> Result<(), StoreError> {
        let connect_until = deadline.min(Instant::now() + CONNECT_PATIENCE);
        let mut conflicts = 0;
        loop {
            let failure = match self.attempt(slot, durability, deadline, work) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let (pause, until) = match &failure {
                Failure::Undone(error) if error.is_conflict() && conflicts < CONFLICTS_MAX => {
                    conflicts += 1;
                    (CONFLICT_PAUSE * conflicts, deadline)
                }
                Failure::Undone(error) if error.is_unreachable() => (CONNECT_PAUSE, connect_until),
                Failure::Undone(_) | Failure::Unknown(_) => return Err(failure.into()),
            };
            if Instant::now() + pause >= until {
                return Err(failure.into());
            }
            thread::sleep(pause);
        }
    }

    fn attempt(
        &self,
        slot: &mut Option<Connection>,
        durability: Durability,
        deadline: Instant,
        work: &mut Work,
    ) -> Result<(), Failure> {
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.server.connect(deadline).map_err(Failure::Undone)?,
        };
        connection.set_deadline(deadline);
        let done = connection.begin(durability).and_then(|()| work(&mut connection));
        if let Err(error) = done {
            if !error.breaks_connection() && connection.roll_back().is_ok() {
                *slot = Some(connection);
            }
            return Err(Failure::Undone(error));
        }
        match connection.commit() {
            // Without the server's plain answer it may be on disk or not.
            Err(error) if error.breaks_connection() => Err(Failure::Unknown(error)),
            Err(error) => Err(Failure::Undone(error)),
            Ok(()) => {
                *slot = Some(connection);
                Ok(())
            }
        }
    }
}

/// A transaction that was not committed, as far as is known.
enum Failure {
    /// It changed nothing.
    Undone(Error),
    /// It may have been committed.
    Unknown(Error),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        StoreError(match failure {
            Failure::Undone(error) => format!("database: {error}"),
            Failure::Unknown(error) => {
                format!("database: {error}, so the outcome of a write is unknown")
            }
        })
    }
}
