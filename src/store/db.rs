//! A connection of either engine, and the values that go in and come out. Each statement is written
//! once, with the parameters `?1`, `?2` and so on.

#[cfg(feature = "postgres")]
use std::cell::RefCell;

use rusqlite::params_from_iter;
use rusqlite::types::{FromSqlResult, ToSqlOutput, ValueRef};

use super::StoreError;
#[cfg(feature = "postgres")]
use super::postgres::{self, Type};

/// A connection, in a transaction if it writes.
pub enum Db<'a> {
    Sqlite(&'a rusqlite::Connection),
    #[cfg(feature = "postgres")]
    Postgres(RefCell<&'a mut postgres::Connection>),
}

/// A failed statement.
#[derive(Debug)]
pub enum Error {
    Sqlite(rusqlite::Error),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Error),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A value for a statement. NULL has a type too, as PostgreSQL wants it.
#[derive(Debug, Clone, Copy)]
pub enum Param<'a> {
    Integer(Option<i64>),
    Boolean(Option<bool>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

/// A type whose values can be given to a statement.
pub trait ToParam {
    const NULL: Param<'static>;
    fn to_param(&self) -> Param<'_>;
}

/// The parameters of a statement, of different types.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::db::ToParam::to_param(&$value)),*] as &[$crate::store::db::Param]
    };
}
pub(super) use params;

/// A row of a result.
pub enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    #[cfg(feature = "postgres")]
    Postgres(&'a postgres::Row),
}

/// A type that can be read from a row.
pub trait Column: Sized {
    fn read(value: ValueRef) -> FromSqlResult<Self>;
}

impl Db<'_> {
    /// Runs a statement and returns the number of rows that it changed.
    pub fn execute(&self, sql: &str, params: &[Param]) -> Result<usize> {
        match self {
            Db::Sqlite(db) => Ok(db.prepare_cached(sql)?.execute(params_from_iter(params))?),
            #[cfg(feature = "postgres")]
            Db::Postgres(db) => on_postgres(sql, params, |sql, params, types| {
                Ok(db.borrow_mut().execute(sql, params, types)? as usize)
            }),
        }
    }

    /// All rows of a result.
    pub fn query<T>(
        &self,
        sql: &str,
        params: &[Param],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.visit(sql, params, |row| {
            all.push(read(row)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// The first row of a result, if there is one.
    pub fn first<T>(
        &self,
        sql: &str,
        params: &[Param],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut first = None;
        self.visit(sql, params, |row| {
            first = Some(read(row)?);
            Ok(false)
        })?;
        Ok(first)
    }

    /// The first row of a result that has one.
    pub fn one<T>(
        &self,
        sql: &str,
        params: &[Param],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<T> {
        self.first(sql, params, read)?.ok_or_else(Error::no_row)
    }

    /// Whether a result has a row.
    pub fn exists(&self, sql: &str, params: &[Param]) -> Result<bool> {
        Ok(self.first(sql, params, |_| Ok(()))?.is_some())
    }

    /// Visits the rows of a result until `visit` returns false. PostgreSQL sends all of them first.
    pub fn visit(
        &self,
        sql: &str,
        params: &[Param],
        mut visit: impl FnMut(&Row) -> Result<bool>,
    ) -> Result<()> {
        match self {
            Db::Sqlite(db) => {
                let mut statement = db.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(params))?;
                while let Some(row) = rows.next()? {
                    if !visit(&Row::Sqlite(row))? {
                        break;
                    }
                }
                Ok(())
            }
            #[cfg(feature = "postgres")]
            Db::Postgres(db) => {
                let rows = on_postgres(sql, params, |sql, params, types| {
                    Ok(db.borrow_mut().query(sql, params, types)?)
                })?;
                for row in &rows {
                    if !visit(&Row::Postgres(row))? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Whether this is SQLite. Only for the few statements whose dialects differ.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Db::Sqlite(_))
    }
}

#[cfg(feature = "postgres")]
type PostgresParam<'a> = &'a (dyn postgres::ToSql + Sync);

/// PostgreSQL writes `$1` for `?1`, must be told the types, and has no NUL character in texts.
#[cfg(feature = "postgres")]
fn on_postgres<T>(
    sql: &str,
    params: &[Param],
    run: impl FnOnce(&str, &[PostgresParam], &[Type]) -> Result<T>,
) -> Result<T> {
    let without_nul = |param: &Param| match param {
        Param::Text(Some(text)) if text.contains('\0') => Some(text.replace('\0', "\u{fffd}")),
        _ => None,
    };
    let replaced: Vec<Option<String>> = params.iter().map(without_nul).collect();
    let (params, types): (Vec<PostgresParam>, Vec<Type>) = params
        .iter()
        .zip(&replaced)
        .map(|(param, replaced)| match (param, replaced) {
            (_, Some(text)) => (text as PostgresParam, Type::TEXT),
            (Param::Integer(value), _) => (value as PostgresParam, Type::INT8),
            (Param::Boolean(value), _) => (value as PostgresParam, Type::BOOL),
            (Param::Text(value), _) => (value as PostgresParam, Type::TEXT),
            (Param::Bytes(value), _) => (value as PostgresParam, Type::BYTEA),
        })
        .unzip();
    run(&sql.replace('?', "$"), &params, &types)
}

impl Row<'_> {
    /// The value in this column, the first being 0.
    pub fn get<T: Column>(&self, column: usize) -> Result<T> {
        let value = match self {
            Row::Sqlite(row) => row.get_ref(column)?,
            #[cfg(feature = "postgres")]
            Row::Postgres(row) => postgres_value(row, column)?,
        };
        let unexpected = |error| {
            let kind = value.data_type();
            rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
        };
        Ok(T::read(value).map_err(unexpected)?)
    }
}

#[cfg(feature = "postgres")]
fn postgres_value(row: &postgres::Row, column: usize) -> Result<ValueRef<'_>, postgres::Error> {
    let value = match *row.columns()[column].type_() {
        Type::BOOL => {
            row.try_get::<_, Option<bool>>(column)?.map(|it| ValueRef::Integer(it.into()))
        }
        Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(|it| ValueRef::Integer(it.into())),
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(ValueRef::Integer),
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(column)?.map(ValueRef::Blob),
        _ => row.try_get::<_, Option<&str>>(column)?.map(|it| ValueRef::Text(it.as_bytes())),
    };
    Ok(value.unwrap_or(ValueRef::Null))
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match *self {
            Param::Integer(value) => value.map(ValueRef::Integer),
            Param::Boolean(value) => value.map(|value| ValueRef::Integer(value.into())),
            Param::Text(value) => value.map(|value| ValueRef::Text(value.as_bytes())),
            Param::Bytes(value) => value.map(ValueRef::Blob),
        };
        Ok(ToSqlOutput::Borrowed(value.unwrap_or(ValueRef::Null)))
    }
}

macro_rules! to_param {
    ($($type:ty, $kind:ident, $value:ident => $given:expr;)*) => { $(
        impl ToParam for $type {
            const NULL: Param<'static> = Param::$kind(None);
            fn to_param(&self) -> Param<'_> {
                let $value = self;
                Param::$kind(Some($given))
            }
        }
    )* };
}

to_param! {
    i64, Integer, value => *value;
    u32, Integer, value => i64::from(*value);
    bool, Boolean, value => *value;
    str, Text, value => value;
    String, Text, value => value;
    [u8; 32], Bytes, value => value;
    Vec<u8>, Bytes, value => value;
}

impl<T: ToParam + ?Sized> ToParam for &T {
    const NULL: Param<'static> = T::NULL;
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    const NULL: Param<'static> = T::NULL;
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(T::NULL, T::to_param)
    }
}

impl Column for i64 {
    fn read(value: ValueRef) -> FromSqlResult<i64> {
        value.as_i64()
    }
}

impl Column for bool {
    fn read(value: ValueRef) -> FromSqlResult<bool> {
        value.as_i64().map(|value| value != 0)
    }
}

/// Other programs may have written text to SQLite that is not UTF-8.
impl Column for String {
    fn read(value: ValueRef) -> FromSqlResult<String> {
        value.as_bytes().map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

impl Column for Vec<u8> {
    fn read(value: ValueRef) -> FromSqlResult<Vec<u8>> {
        value.as_bytes().map(<[u8]>::to_vec)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: ValueRef) -> FromSqlResult<Option<T>> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::read(value).map(Some),
        }
    }
}

impl Error {
    /// As an error of SQLite, where there is no other engine.
    pub fn of_sqlite(self) -> rusqlite::Error {
        match self {
            Error::Sqlite(error) => error,
            #[cfg(feature = "postgres")]
            Error::Postgres(error) => rusqlite::Error::UserFunctionError(error.to_string().into()),
        }
    }

    /// A result lacks a row that it must have.
    pub fn no_row() -> Error {
        Error::Sqlite(rusqlite::Error::QueryReturnedNoRows)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        Error::Sqlite(error)
    }
}

#[cfg(feature = "postgres")]
impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Error {
        Error::Postgres(error)
    }
}

#[cfg(feature = "postgres")]
impl From<Error> for postgres::Error {
    fn from(error: Error) -> postgres::Error {
        match error {
            Error::Postgres(error) => error,
            Error::Sqlite(error) => postgres::Error::Work(error.to_string()),
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        match error {
            Error::Sqlite(error) => error.into(),
            #[cfg(feature = "postgres")]
            Error::Postgres(error) => StoreError(format!("database: {error}")),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        // Not the driver's text, which may contain the whole statement.
        match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                StoreError(format!("database: {}", message.unwrap_or_else(|| code.to_string())))
            }
            other => StoreError(format!("database: {other}")),
        }
    }
}
