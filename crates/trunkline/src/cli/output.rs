//! What commands print, and how they end.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use trunkline_config::{Diagnostics, Severity, Style};

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It did what it was asked for.
    Done,
    /// It looked, and what it looked at is not in order; it has said so.
    Unsound,
    /// It was stopped before everything was finished.
    Forced,
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The problems have been printed already.
    pub(super) fn reported(diagnostics: &Diagnostics) -> Self {
        Self(counted(diagnostics))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// `2 errors, 1 warning`.
pub(super) fn counted(diagnostics: &Diagnostics) -> String {
    let count = |severity, word: &str| {
        let count = diagnostics.count(severity);
        format!("{count} {word}{}", if count == 1 { "" } else { "s" })
    };
    format!("{}, {}", count(Severity::Error, "error"), count(Severity::Warning, "warning"))
}

/// Prints the problems of configuration files to standard error.
pub(super) fn diagnostics(diagnostics: &Diagnostics) {
    let style = if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() { Style::Ansi } else { Style::Plain };
    let _ = write!(io::stderr(), "{}", diagnostics.render(style));
}

/// Prints to standard output. A reader that has gone away ends the program quietly, as `head` expects.
/// Colours are left out where they are not wanted.
pub(super) fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    print_to(anstream::stdout().lock(), text.as_ref())
}

/// Prints to standard output without leaving anything out: `print` takes some control characters for colours.
pub(super) fn print_exactly(text: impl AsRef<str>) -> Result<(), Failure> {
    print_to(io::stdout().lock(), text.as_ref())
}

fn print_to(mut out: impl io::Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        #[expect(clippy::exit, reason = "the reader has gone, and nothing is left to be said or done")]
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Prints a line to standard output.
pub(super) fn print_line(line: impl AsRef<str>) -> Result<(), Failure> {
    print(format!("{}\n", line.as_ref()))
}

/// Prints some lines to standard output, at once.
pub(super) fn print_lines(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    print(lines.into_iter().map(|line| line + "\n").collect::<String>())
}

/// Prints a line to standard error, for what is beside the result.
pub(super) fn note(line: impl AsRef<str>) {
    // Nobody is told when nobody can be.
    let _ = writeln!(anstream::stderr().lock(), "trunkline: {}", line.as_ref());
}

pub(super) fn exit_code(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Unsound) => ExitCode::FAILURE,
        Ok(Outcome::Forced) => ExitCode::from(3),
        Err(Failure(reason)) => {
            let _ = writeln!(io::stderr(), "trunkline: {reason}");
            ExitCode::FAILURE
        }
    }
}
