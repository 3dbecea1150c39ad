//! The database of a test: a SQLite file, or with HALLPASS_TEST_ENGINE=postgres a schema of its own
//! on the PostgreSQL at HALLPASS_TEST_POSTGRES. `tests/run` starts that server.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU64, Ordering};

use hallpass::store::Database;

#[derive(Clone)]
pub struct TestDatabase {
    pub database: Database,
    url: String,
}

impl TestDatabase {
    /// An empty one, for the engine of this run.
    pub fn new(folder: &Path) -> TestDatabase {
        match env::var("HALLPASS_TEST_ENGINE").as_deref() {
            Ok("postgres") => TestDatabase::on_postgres(),
            _ => {
                let database = Database::File(folder.join("hallpass.db"));
                TestDatabase { database, url: String::new() }
            }
        }
    }

    /// A new schema, whatever the engine of this run.
    pub fn on_postgres() -> TestDatabase {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let server = env::var("HALLPASS_TEST_POSTGRES")
            .expect("HALLPASS_TEST_POSTGRES names a PostgreSQL, as tests/run does");
        let schema = format!("t{}_{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        psql(&server, &format!("CREATE SCHEMA {schema}"));
        TestDatabase::at(format!(
            "{server}&application_name={schema}&options=-csearch_path%3D{schema}"
        ))
    }

    fn at(url: String) -> TestDatabase {
        TestDatabase { database: Database::parse(OsStr::new(&url)).unwrap(), url }
    }

    #[cfg(feature = "postgres")]
    /// The name of the schema, which connections bear too.
    pub fn schema(&self) -> String {
        self.url.rsplit("%3D").next().unwrap().to_owned()
    }

    #[cfg(feature = "postgres")]
    /// The same as another role.
    pub fn as_role(&self, role: &str) -> TestDatabase {
        TestDatabase::at(self.url.replace("user=postgres", &format!("user={role}")))
    }

    /// For --database.
    pub fn argument(&self) -> String {
        match self.database.file() {
            Some(path) => path.display().to_string(),
            None => self.url.clone(),
        }
    }

    /// Runs statements as another program.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        match self.database.file() {
            Some(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            None => drop(psql(&self.url, sql)),
        }
    }

    /// The first value, read by another program. `None` if it is NULL.
    #[track_caller]
    pub fn value(&self, sql: &str) -> Option<String> {
        let Some(path) = self.database.file() else {
            let text = psql(&self.url, sql);
            let first = text.lines().next().unwrap();
            return (first != NULL).then(|| first.to_owned());
        };
        let connection = rusqlite::Connection::open(path).unwrap();
        let sql = format!("SELECT CAST(({sql}) AS TEXT)");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

/// How psql prints NULL.
const NULL: &str = "(null)";

#[track_caller]
fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-P"])
        .arg(format!("null={NULL}"))
        .args(["-c", sql, url])
        .output()
        .unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
