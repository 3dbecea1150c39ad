//! A bounded queue of log lines, written to standard error by its own thread.
//!
//! A thread that logs never waits for the reader. When the queue is full, lines are dropped and
//! counted.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Half a second of lines at 50,000 requests a second.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the thread waits for more lines after each write, so several share one write and one
/// wake-up.
const LINGER: Duration = Duration::from_millis(5);
/// Pause before the next try when standard error is non-blocking and full.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How long the process waits for the reader at its end, in addition to the 10 seconds that a
/// server allows its requests.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

static QUEUE: Queue = Queue {
    state: Mutex::new(State {
        lines: Vec::new(),
        is_started: false,
        dropped: 0,
        dropped_ever: 0,
        is_idle: false,
        is_writing: false,
    }),
    filled: Condvar::new(),
    written: Condvar::new(),
};

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
}

struct State {
    /// Whole lines.
    lines: Vec<u8>,
    is_started: bool,
    /// Dropped lines that the writing thread does not know of yet.
    dropped: u64,
    dropped_ever: u64,
    /// Whether the writing thread must be woken, which takes a system call. Under load it need not
    /// be.
    is_idle: bool,
    is_writing: bool,
}

/// A writer that queues each line.
pub struct Sink;

impl Write for Sink {
    /// Expects one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = QUEUE.lock();
        if state.lines.len() + line.len() > QUEUE_BYTES_MAX {
            state.dropped += 1;
            state.dropped_ever += 1;
        } else {
            state.lines.extend_from_slice(line);
            if mem::take(&mut state.is_idle) {
                QUEUE.filled.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread that writes the queue, for the life of the process.
pub fn start() {
    thread::Builder::new()
        .name("log".into())
        .spawn(write_out)
        .expect("a thread can be started before the server serves");
    QUEUE.lock().is_started = true;
}

/// Returns when the queue is written, or after two seconds without a reader.
pub fn flush() {
    let pending = |state: &mut State| state.is_writing || !state.lines.is_empty();
    // The process ends either way.
    drop(QUEUE.written.wait_timeout_while(QUEUE.lock(), FLUSH_PATIENCE, pending));
}

/// Whether the writing thread was started.
pub fn is_started() -> bool {
    QUEUE.lock().is_started
}

/// How many lines have been dropped since the process started.
pub fn dropped_ever() -> u64 {
    QUEUE.lock().dropped_ever
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_out() {
    let (mut unreported, mut is_failing) = (0, false);
    loop {
        let mut state = QUEUE.lock();
        state.is_idle = true;
        state = QUEUE
            .filled
            .wait_while(state, |state| state.lines.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_idle = false;
        state.is_writing = true;
        let lines = mem::take(&mut state.lines);
        unreported += mem::take(&mut state.dropped);
        drop(state);
        if !is_failing {
            // The queue has room for the report now, and it follows the lines from before the gap.
            report(&mut unreported);
        }
        let lost = write(&lines, &mut io::stderr());
        (is_failing, unreported) = (lost > 0, unreported + lost);
        if !is_failing {
            report(&mut unreported);
        }
        let mut state = QUEUE.lock();
        state.dropped_ever += lost;
        state.is_writing = false;
        drop(state);
        QUEUE.written.notify_all();
        thread::sleep(LINGER);
    }
}

fn report(dropped: &mut u64) {
    if *dropped > 0 {
        log::warn!("{dropped} log lines were dropped because standard error did not take them");
        *dropped = 0;
    }
}

/// Writes whole lines, however long that takes. Returns how many could not be written because the
/// reader is gone or the disk is full.
fn write(mut lines: &[u8], out: &mut impl Write) -> u64 {
    while !lines.is_empty() {
        match out.write(lines) {
            Ok(written @ 1..) => lines = &lines[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            Ok(0) | Err(_) => break,
        }
    }
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts `room` bytes, one at a time, then fails. Asks to be tried again before each.
    struct Reader {
        room: usize,
        is_ready: bool,
    }

    impl Write for Reader {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.is_ready = !self.is_ready;
            match self.room {
                _ if self.is_ready => Err(ErrorKind::WouldBlock.into()),
                0 => Err(ErrorKind::StorageFull.into()),
                _ => {
                    self.room -= 1;
                    Ok(1)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        for (room, lost) in [(6, 0), (5, 1), (4, 1), (3, 2), (0, 2)] {
            let mut reader = Reader { room, is_ready: false };
            assert_eq!(write(b"one\nx\n", &mut reader), lost, "{room}");
        }
    }
}
