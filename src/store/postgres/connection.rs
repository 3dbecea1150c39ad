//! One connection to PostgreSQL, with a time limit for each call.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row, Socket, Statement};

use super::address::{Address, Encryption};
use super::error::Error;
use super::tls::Tls;

/// Saying goodbye takes one packet.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(50);
/// Asking the server to stop a query takes a connection, which may not be had.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(200);
/// A transaction waits this long for a row that another one has locked. Its caller waits longer.
const LOCK_TIMEOUT: &str = "8s";
/// The server ends the transaction of a Hallpass that was stopped halfway, and with it its locks.
const IDLE_TIMEOUT: &str = "10s";

/// A server, ready to be connected to.
pub struct Server {
    config: Config,
    tls: Option<Tls>,
    /// For messages, without the password.
    name: String,
}

/// An open connection. It is driven by the thread that calls it.
pub struct Connection {
    /// `None` only while it is dropped.
    client: Option<Client>,
    driver: JoinHandle<()>,
    runtime: Runtime,
    statements: HashMap<String, Statement>,
    /// No call takes longer than until then.
    deadline: Instant,
    /// Whether the server is set to report a commit before it is on disk.
    is_lax: bool,
    /// Whether a call has failed in this transaction. The server would answer COMMIT by undoing it.
    has_failed: bool,
    /// Whether the server may still be at work for a call that took too long.
    is_late: bool,
    tls: Option<Tls>,
}

/// When a commit is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on disk, and wherever else the server is set to write it.
    OnDisk,
    /// At once. A crash of the server may lose it.
    Later,
}

impl Server {
    /// Reads the authorities that the address names.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn new(address: &Address) -> Result<Server, String> {
        let tls = match &address.encryption {
            Encryption::None => None,
            Encryption::Verified { authorities } => Some(Tls::trusting(authorities.as_deref())?),
        };
        Ok(Server { config: address.config.clone(), tls, name: address.to_string() })
    }

    /// The server in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection.
    pub fn connect(&self, deadline: Instant) -> Result<Connection, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::System)?;
        let connecting = async {
            match &self.tls {
                None => connect(&self.config, NoTls).await,
                Some(tls) => connect(&self.config, tls.clone()).await,
            }
        };
        let (client, driver) = runtime
            .block_on(async { timeout_at(deadline.into(), connecting).await })
            .map_err(|_| Error::TimedOut)??;
        let mut connection = Connection {
            client: Some(client),
            driver,
            runtime,
            statements: HashMap::new(),
            deadline,
            is_lax: false,
            has_failed: false,
            is_late: false,
            tls: self.tls.clone(),
        };
        let lax = "SELECT current_setting('synchronous_commit') IN ('off', 'local')";
        let rows = connection.query(lax, &[], &[])?;
        connection.is_lax = rows.first().is_some_and(|row| row.get(0));
        Ok(connection)
    }
}

async fn connect<T>(
    config: &Config,
    tls: T,
) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    // A failure is reported to the call that it interrupts.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok((client, driver))
}

impl Connection {
    /// Limits the time of the calls that follow.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Runs a statement with `$1` and so on, and returns the number of rows that it changed.
    pub fn execute(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
        types: &[Type],
    ) -> Result<u64, Error> {
        let statement = self.prepare(sql, types)?;
        self.call(|client| async move { client.execute(&statement, parameters).await })
    }

    /// Runs a query with `$1` and so on.
    pub fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
        types: &[Type],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql, types)?;
        self.call(|client| async move { client.query(&statement, parameters).await })
    }

    /// Runs several statements without parameters.
    pub fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.call(|client| client.batch_execute(sql))
    }

    /// Begins a transaction. Settings of a session may not outlive a transaction behind a pooler,
    /// so each transaction has its own.
    pub fn begin(&mut self, durability: Durability) -> Result<(), Error> {
        let commit = match durability {
            Durability::OnDisk if self.is_lax => "SET LOCAL synchronous_commit = on",
            Durability::OnDisk => "",
            Durability::Later => "SET LOCAL synchronous_commit = off",
        };
        self.has_failed = false;
        self.batch(&format!(
            "BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
             SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'; {commit}"
        ))
    }

    /// Commits, and waits for as long as that takes: longer than any deadline while a synchronous
    /// standby is missing. Giving up would leave the server waiting, with one connection less.
    pub fn commit(&mut self) -> Result<(), Error> {
        if self.has_failed {
            self.roll_back()?;
            return Err(Error::Work("a statement failed, so the rest was undone".into()));
        }
        let client = self.client.as_ref().ok_or(Error::TimedOut)?;
        Ok(self.runtime.block_on(client.batch_execute("COMMIT"))?)
    }

    /// Undoes a transaction.
    pub fn roll_back(&mut self) -> Result<(), Error> {
        self.batch("ROLLBACK")
    }

    fn prepare(&mut self, sql: &str, types: &[Type]) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.call(|client| client.prepare_typed(sql, types))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn call<'a, F, T>(&'a mut self, call: impl FnOnce(&'a Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let client = self.client.as_ref().ok_or(Error::TimedOut)?;
        let limited = async { timeout_at(self.deadline.into(), call(client)).await };
        let answer = self.runtime.block_on(limited);
        self.has_failed |= !matches!(answer, Ok(Ok(_)));
        self.is_late |= answer.is_err();
        Ok(answer.map_err(|_| Error::TimedOut)??)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(client) = self.client.as_ref().filter(|_| self.is_late) {
            let (token, tls) = (client.cancel_token(), self.tls.take());
            let cancel = async {
                match tls {
                    None => token.cancel_query(NoTls).await,
                    Some(tls) => token.cancel_query(tls).await,
                }
            };
            // Without it, the query ends by itself.
            let _ = self.runtime.block_on(async { timeout(CANCEL_TIMEOUT, cancel).await });
        }
        // Without a client, the driver tells the server and ends.
        drop(self.client.take());
        self.statements.clear();
        let driver = &mut self.driver;
        // An answer that never comes is not waited for.
        let _ = self.runtime.block_on(async { timeout(CLOSE_TIMEOUT, driver).await });
    }
}
