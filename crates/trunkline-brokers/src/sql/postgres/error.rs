//! What PostgreSQL says, for a person.

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;

use crate::sql::connect;
use crate::sql::server::Server;
use crate::sql::session::Failure;

/// What went wrong, and what to do.
pub(in crate::sql) fn explain(server: &Server, error: &Error) -> Failure {
    let Some(said) = said(error) else { return connect::explain(server, error) };
    let (database, message) = (&server.database, said.message());
    let user = server.username.as_deref().unwrap_or("(the user of the process)");
    let reason = match said.code() {
        "28P01" => format!("{server} refuses the user `{user}`: wrong password; correct `username` and `password`"),
        "28000" => format!("{server} refuses the user `{user}`: {message}; see the server's pg_hba.conf"),
        "3D000" => format!("{server} cannot be used: there is no database `{database}`; create it, or correct `db`"),
        "53300" => format!("{server} has no connection left for us: {message}"),
        "57P03" => format!("{server} takes no connections at the moment: {message}"),
        "25006" => format!("{server} is read-only; is it a standby? connect to the primary"),
        "42501" => format!("{server} denies the user `{user}` something: {message}; grant it"),
        "53100" => format!("{server} has no disk space left: {message}"),
        "55P03" => format!("{server} failed: {message}; another session holds a lock on the tables"),
        "57014" => format!("{server} failed: {message}; the server is overloaded, or another session holds a lock"),
        "42P01" | "42703" => format!("{server} failed: {message}; was the table changed?"),
        "2200H" | "22003" => format!("{server} has no more numbers for `events.id`: {message}; make the column a bigint"),
        "23505" if is_about_the_id(said) => {
            format!(
                "{server} gave out an `events.id` that exists: {message}; set the sequence of `events.id` behind the last row"
            )
        }
        _ => format!("{server} failed: {message}"),
    };
    // 57P01 to 57P05: the server ends the session.
    let is_lost = said.code().starts_with("57P0") && said.code() != "57P03";
    let is_shortage = matches!(said.code(), "53100" | "53200" | "2200H" | "22003") || is_about_the_id(said);
    Failure { reason, is_lost, is_shortage }
}

/// The message, when another row could succeed where this one failed.
pub(super) fn about_the_row(error: &Error) -> Option<String> {
    let said = said(error)?;
    let code = said.code();
    // The ids are the server's own, and no row's fault.
    if matches!(code, "2200H" | "22003") || is_about_the_id(said) {
        return None;
    }
    // 22: data, 23: constraints, 44: views, P0: triggers in PL/pgSQL, 54000: larger than an index takes.
    let is_it = ["22", "23", "44", "P0"].iter().any(|class| code.starts_with(class)) || code == "54000";
    is_it.then(|| said.message().to_owned())
}

/// Whether a table or type was created by somebody else in the same moment.
pub(super) fn is_created_twice(error: &Error) -> bool {
    said(error).is_some_and(|said| matches!(said.code(), "23505" | "42P07" | "42710"))
}

fn said(error: &Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
}

fn is_about_the_id(said: &PgDatabaseError) -> bool {
    said.code() == "23505" && said.detail().is_some_and(|detail| detail.starts_with("Key (id)="))
}
