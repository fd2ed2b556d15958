//! What commands print, and how they end.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use trunkline_config::{Diagnostics, Severity, Style};

use super::gist::shortened;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It did its work.
    Done,
    /// It found something out of order, and has said so.
    Unsound,
    /// It was stopped before everything was finished.
    Forced,
}

/// Why a command ended before it was done.
#[derive(Debug)]
pub(super) enum Failure {
    /// For this reason.
    Reason(String),
    /// Nobody reads standard output any more. That is how `head` ends what stands before it, and no failure.
    ReaderGone,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self::Reason(reason.into())
    }

    /// The problems have been printed already.
    pub(super) fn reported(diagnostics: &Diagnostics) -> Self {
        Self::Reason(counted(diagnostics))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(reason) => f.write_str(reason),
            Self::ReaderGone => f.write_str("nobody reads standard output any more"),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Reason(error.to_string())
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

/// Prints to standard output. An error means that the reader has gone, and ends the command.
/// Colours are left out where they are not wanted.
pub(super) fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    print_to(anstream::stdout().lock(), text.as_ref())
}

/// Prints to standard output without leaving anything out: `print` takes some control characters for colours.
pub(super) fn print_exactly(text: impl AsRef<str>) -> Result<(), Failure> {
    print_to(io::stdout().lock(), text.as_ref())
}

fn print_to(mut out: impl io::Write, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => error.into(),
    })
}

/// Prints a line to standard output.
pub(super) fn print_line(line: impl AsRef<str>) -> Result<(), Failure> {
    print(format!("{}\n", line.as_ref()))
}

/// Prints some lines to standard output, at once.
pub(super) fn print_lines(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    print(lines.into_iter().map(|line| line + "\n").collect::<String>())
}

/// Prints a line about what was found or done. The command goes on to its verdict, whether anybody reads the line or not.
pub(super) fn report(line: impl AsRef<str>) -> Result<(), Failure> {
    match print_line(line) {
        Err(Failure::ReaderGone) => Ok(()),
        result => result,
    }
}

/// Prints a line to standard error, for what is beside the result. Parts of it may come from anybody, so nothing in it reaches the
/// terminal that it would act upon.
pub(super) fn note(line: impl AsRef<str>) {
    // Nobody is told when nobody can be.
    let _ = writeln!(io::stderr().lock(), "trunkline: {}", shortened(line.as_ref(), usize::MAX));
}

pub(super) fn exit_code(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(Outcome::Done) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Ok(Outcome::Unsound) => ExitCode::FAILURE,
        Ok(Outcome::Forced) => ExitCode::from(3),
        Err(Failure::Reason(reason)) => {
            let lines: Vec<_> = reason.lines().map(|line| shortened(line, usize::MAX)).collect();
            let _ = writeln!(io::stderr(), "trunkline: {}", lines.join("\n"));
            ExitCode::FAILURE
        }
    }
}
