//! PostgreSQL, for several servers on one database.

mod address;
mod tls;
mod connection;
mod error;
mod schema;
mod readers;
mod writers;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use connection::{Connection, Server};
pub use error::Error;
pub use readers::Readers;
pub use schema::{Missing, prepare};
pub use writers::Writers;

pub use tokio_postgres::Row;
pub use tokio_postgres::types::{ToSql, Type};
