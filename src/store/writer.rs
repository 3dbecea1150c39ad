//! The one thread that writes. Everything in its queue shares one transaction, so many sign-ins
//! cost one sync of the disk. Each is answered when that sync is done.

#[cfg(feature = "postgres")]
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
#[cfg(feature = "postgres")]
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::StoreError;
use super::db::{Db, Result};
use super::open_files::OpenFiles;
#[cfg(feature = "postgres")]
use super::postgres::Writers;

/// When the queue is full, callers of `write` wait, and work for `write_later` is dropped.
const QUEUE_MAX: usize = 1024;
/// Tasks in one commit.
const BATCH_MAX: usize = 256;
/// Work that nobody waits for is collected for this long, so it does not cost a sync each time.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// Rows in one step of long work. Sign-ins wait for a step about 10 milliseconds.
pub const STEP_ROWS: usize = 500;

struct Task {
    job: Job,
    /// Whether a caller waits for the commit.
    awaited: bool,
}

/// Works inside a transaction. The reply is called with the outcome of the commit.
type Job = Box<dyn FnOnce(&Connection) -> Reply + Send>;
type Reply = Box<dyn FnOnce(&Result<(), StoreError>)>;

/// A handle to the writing thread, or to those of PostgreSQL. Dropping it finishes the queue first.
#[derive(Default)]
pub struct Writer {
    queue: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
    #[cfg(feature = "postgres")]
    postgres: Option<Writers>,
}

impl Writer {
    /// Starts the thread, which takes over the connection.
    pub fn start(connection: Connection, files: Arc<OpenFiles>) -> Writer {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&connection, &files, &jobs))
            .expect("a thread can be started before the server serves");
        let mut writer = Writer::none();
        (writer.queue, writer.thread) = (Some(queue), Some(thread));
        writer
    }

    /// A writer for a read-only store. All work fails.
    pub fn none() -> Writer {
        Writer::default()
    }

    #[cfg(feature = "postgres")]
    pub fn on_postgres(writers: Writers) -> Writer {
        let mut writer = Writer::none();
        writer.postgres = Some(writers);
        writer
    }

    /// Does the work and returns its result once it is on disk. Failed work changes nothing. It may
    /// run again if other work was first.
    pub fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Db) -> Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        #[cfg(feature = "postgres")]
        if let Some(writers) = &self.postgres {
            let slot = Arc::new(Mutex::new(None));
            let result = slot.clone();
            writers.write(Box::new(move |connection| {
                let done = work(&Db::Postgres(RefCell::new(connection)))?;
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                Ok(())
            }))?;
            let done = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            return done.ok_or_else(writer_stopped);
        }
        let (sender, receiver) = sync_channel(1);
        let job: Job = Box::new(move |db| {
            let result = atomically(db, work);
            // The receiver waits below, so sending cannot fail.
            Box::new(move |committed| drop(sender.send(committed.clone().and(result))))
        });
        let queue = self.queue.as_ref().ok_or_else(writer_stopped)?;
        queue.send(Task { job, awaited: true }).map_err(|_| writer_stopped())?;
        receiver.recv().map_err(|_| writer_stopped())?
    }

    pub fn steps(&self) -> Steps<'_> {
        Steps { writer: self, pause: Duration::ZERO }
    }

    /// Does the work soon, without waiting. Drops it and returns false if the queue is full.
    pub fn write_later(&self, work: impl Fn(&Db) -> Result<()> + Send + 'static) -> bool {
        #[cfg(feature = "postgres")]
        if let Some(writers) = &self.postgres {
            return writers.write_later(Box::new(move |connection| {
                Ok(work(&Db::Postgres(RefCell::new(connection)))?)
            }));
        }
        let job: Job = Box::new(move |db| {
            let result = atomically(db, work);
            Box::new(move |committed| {
                if let Err(error) = committed.clone().and(result) {
                    log::warn!("not recorded: {error}");
                }
            })
        });
        let task = Task { job, awaited: false };
        let accepted = self.queue.as_ref().is_some_and(|queue| queue.try_send(task).is_ok());
        if !accepted {
            log::warn!("not recorded: too much is waiting to be written");
        }
        accepted
    }

    /// Returns when all earlier work is done.
    pub fn flush(&self) {
        #[cfg(feature = "postgres")]
        if let Some(writers) = &self.postgres {
            return writers.flush();
        }
        // A failed commit was reported to the callers of those writes.
        let _ = self.write(|_| Ok(()));
    }
}

/// Long work in steps, each in its own transaction. Between two steps it pauses for as long as the
/// last one took, because other processes poll for SQLite's lock.
pub struct Steps<'a> {
    writer: &'a Writer,
    pause: Duration,
}

impl Steps<'_> {
    /// Does the work of one step, as [`Writer::write`] does.
    pub fn write<T: Send + 'static>(
        &mut self,
        work: impl Fn(&Db) -> Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        thread::sleep(self.pause);
        let (started, result) = self.writer.write(move |db| {
            let started = Instant::now();
            Ok((started, work(db)?))
        })?;
        self.pause = if self.writer.queue.is_some() { started.elapsed() } else { Duration::ZERO };
        Ok(result)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported.
            let _ = thread.join();
        }
    }
}

fn writer_stopped() -> StoreError {
    StoreError("database: nothing can be written".into())
}

fn run(db: &Connection, files: &OpenFiles, jobs: &Receiver<Task>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        let deadline = Instant::now() + BATCH_WAIT;
        while batch.iter().all(|task| !task.awaited) && batch.len() < BATCH_MAX {
            let Ok(task) = jobs.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            else {
                break;
            };
            batch.push(task);
        }
        batch.extend(jobs.try_iter().take(BATCH_MAX - batch.len()));
        let started = files
            .require_unchanged()
            .and_then(|()| execute(db, "BEGIN IMMEDIATE").map_err(StoreError::from));
        let replies: Vec<Reply> = batch.into_iter().map(|task| (task.job)(db)).collect();
        let committed = started.and_then(|()| execute(db, "COMMIT").map_err(StoreError::from));
        if committed.is_err() && !db.is_autocommit() {
            // If this fails too, the next BEGIN reports it.
            let _ = execute(db, "ROLLBACK");
        }
        replies.into_iter().for_each(|reply| reply(&committed));
    }
}

/// Runs one job in a savepoint of the shared transaction, so a failure undoes this job alone.
/// Without a transaction (it could not begin, or a full disk rolled it back) nothing is done, and
/// the failed COMMIT informs every caller.
fn atomically<T>(db: &Connection, work: impl Fn(&Db) -> Result<T>) -> Result<T, StoreError> {
    if db.is_autocommit() {
        return Err(StoreError("database: no transaction could begin".into()));
    }
    execute(db, "SAVEPOINT job")?;
    let result = work(&Db::Sqlite(db));
    if !db.is_autocommit() {
        if result.is_err() {
            execute(db, "ROLLBACK TO job")?;
        }
        execute(db, "RELEASE job")?;
    }
    Ok(result?)
}

fn execute(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}
