//! What MySQL and MariaDB say, for a person.

use sqlx::Error;
use sqlx::mysql::MySqlDatabaseError;

use crate::sql::connect;
use crate::sql::server::Server;
use crate::sql::session::Failure;

/// Null, no default, data that does not fit or is out of range.
const DATA: [u16; 11] = [1048, 1263, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 3140, 3988];

/// Foreign keys, checks (of MySQL, of MariaDB), views, triggers.
const CONSTRAINTS: [u16; 6] = [1216, 1452, 3819, 4025, 1369, 1644];

/// What went wrong, and what to do.
pub(in crate::sql) fn explain(server: &Server, error: &Error) -> Failure {
    let Some(said) = said(error) else { return connect::explain(server, error) };
    let (database, message) = (&server.database, said.message());
    let user = server.username.as_deref().unwrap_or_default();
    let reason = match said.number() {
        1045 | 1698 => {
            format!(
                "{server} refuses the user `{user}`: {message}; correct `username` and `password`, or the user's demand for TLS"
            )
        }
        1044 => format!("{server} denies the user `{user}` the database: {message}; grant it, or correct `db`"),
        1049 => format!("{server} cannot be used: there is no database `{database}`; create it, or correct `db`"),
        1040 | 1203 | 1226 => format!("{server} has no connection left for us: {message}"),
        1129 | 1130 => format!("{server} takes no connections from this host: {message}"),
        1142 | 1143 | 1227 | 1370 => format!("{server} denies the user `{user}` something: {message}; grant it"),
        1290 | 1792 | 1836 => format!("{server} is read-only: {message}; is it a replica? connect to the primary"),
        1021 | 1114 => format!("{server} has no space left: {message}"),
        1205 => format!("{server} failed: {message}; another session holds a lock on the tables"),
        1969 | 3024 => format!("{server} failed: {message}; the server is overloaded, or another session holds a lock"),
        1146 | 1054 => format!("{server} failed: {message}; was the table changed?"),
        1062 | 1467 | 167 => {
            format!("{server} has no number for `events.id`: {message}; make the column a BIGINT, or set its AUTO_INCREMENT")
        }
        _ => format!("{server} failed: {message}"),
    };
    // The server ends the session: shutting down, killed, idle for too long.
    let is_lost = matches!(said.number(), 1053 | 1077 | 1152 | 1927 | 3169 | 4031);
    let is_shortage = matches!(said.number(), 1021 | 1114 | 1062 | 1467 | 167);
    Failure { reason, is_lost, is_shortage }
}

/// The message, when another row could succeed where this one failed.
pub(super) fn about_the_row(error: &Error) -> Option<String> {
    let said = said(error)?;
    let number = said.number();
    // The ids are the server's own, and no row's fault.
    let is_duplicate = number == 1062 && !said.message().contains("PRIMARY");
    (is_duplicate || DATA.contains(&number) || CONSTRAINTS.contains(&number)).then(|| said.message().to_owned())
}

/// Whether a row with the same key is there.
pub(super) fn is_duplicate(error: &Error) -> bool {
    said(error).is_some_and(|said| said.number() == 1062)
}

/// Whether another session held a lock for too long.
pub(super) fn is_locked(error: &Error) -> bool {
    said(error).is_some_and(|said| matches!(said.number(), 1205 | 1213 | 1969))
}

fn said(error: &Error) -> Option<&MySqlDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
}
