//! The one thread that writes. Whatever waits in its queue shares one transaction, so that many sign-ins cost one
//! sync of the disk, and each is answered only when that sync is done.

use std::iter;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::StoreError;

/// Work that may wait in the queue. Those who need an answer wait for room; the rest is dropped when it is full.
const QUEUE_MAX: usize = 1024;
/// Work that shares one commit.
const BATCH_MAX: usize = 256;

/// Does its work inside a transaction; what it returns is called with the outcome of the commit.
type Job = Box<dyn FnOnce(&Connection) -> Reply + Send>;
type Reply = Box<dyn FnOnce(&Result<(), StoreError>)>;

/// A handle to the writing thread; dropping it finishes what is queued.
pub struct Writer {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which owns the connection from here on.
    pub fn start(connection: Connection) -> Writer {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || commit_all(&connection, &jobs))
            .expect("a thread can be started before the server serves");
        Writer { queue: Some(queue), thread: Some(thread) }
    }

    /// Does the work and returns its result once it is on disk. If the work fails, none of it happened.
    pub fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = sync_channel(1);
        let job: Job = Box::new(move |db| {
            let result = atomically(db, work);
            // The receiver waits below; it is gone only if its thread is.
            Box::new(move |committed| drop(sender.send(committed.clone().and(result))))
        });
        self.queue().send(job).map_err(|_| gone())?;
        receiver.recv().map_err(|_| gone())?
    }

    /// Has the work done soon, without waiting. It is dropped if the queue is full.
    pub fn write_later(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) {
        let job: Job = Box::new(move |db| {
            let result = atomically(db, work);
            Box::new(move |committed| {
                if let Err(error) = committed.clone().and(result) {
                    log::warn!("not recorded: {error}");
                }
            })
        });
        if let Err(TrySendError::Full(_)) = self.queue().try_send(job) {
            log::warn!("not recorded: too much is waiting to be written");
        }
    }

    fn queue(&self) -> &SyncSender<Job> {
        self.queue.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It ends when the queue is empty; a panic of it was already shown.
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError("database: the writing thread has ended".into())
}

fn commit_all(db: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let begun = db.execute_batch("BEGIN IMMEDIATE");
        let batch = iter::once(first).chain(jobs.try_iter()).take(BATCH_MAX);
        let replies: Vec<Reply> = batch.map(|job| job(db)).collect();
        let committed = begun.and_then(|()| db.execute_batch("COMMIT")).map_err(StoreError::from);
        if committed.is_err() && !db.is_autocommit() {
            // Nothing more can be done if this fails as well: the next BEGIN says so.
            let _ = db.execute_batch("ROLLBACK");
        }
        replies.into_iter().for_each(|reply| reply(&committed));
    }
}

/// Runs one job in a savepoint of the shared transaction, so that its failure undoes its own work alone. Without a
/// transaction (it could not begin, or a full disk rolled it back) nothing is done; the failed COMMIT tells everybody.
fn atomically<T>(db: &Connection, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
    if db.is_autocommit() {
        return Err(StoreError("database: no transaction could begin".into()));
    }
    db.execute_batch("SAVEPOINT job")?;
    let result = work(db);
    if !db.is_autocommit() {
        db.execute_batch(if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" })?;
    }
    Ok(result?)
}
