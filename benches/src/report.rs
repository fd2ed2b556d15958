//! What was found: as tables for people and as JSON for programs.

use std::{
    fmt::{self, Display, Formatter, Write},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;

use crate::{Bench, machine::Machine};

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What it was measured on.
    pub(crate) machine: Machine,
    /// How long a measurement counted.
    pub(crate) seconds: f64,
    /// Speeds against the anchor.
    pub(crate) comparisons: Vec<Comparison>,
    /// Everything that has no anchor.
    pub(crate) figures: Vec<Figure>,
    /// What could not be measured.
    pub(crate) failures: Vec<Failure>,
}

impl Report {
    /// Nothing found yet.
    pub(crate) fn new(machine: Machine, bench: &Bench) -> Self {
        let seconds = bench.duration.as_secs_f64();
        Self { machine, seconds, comparisons: Vec::new(), figures: Vec::new(), failures: Vec::new() }
    }

    /// Enters a comparison.
    pub(crate) fn compare(
        &mut self,
        group: &'static str,
        what: &str,
        clients: u16,
        rounds: Vec<Round>,
        aim: Option<Aim>,
    ) -> &Comparison {
        self.comparisons.push(Comparison::new(group, what, clients, rounds, aim));
        self.comparisons.last().expect("a comparison was entered just now")
    }

    /// Enters something that could not be measured.
    pub(crate) fn fail(&mut self, what: &str, error: &anyhow::Error) {
        eprintln!("failed: {error:#}");
        self.failures.push(Failure { what: what.to_owned(), error: format!("{error:#}") });
    }

    /// Writes everything as JSON.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        fs::write(path, json).with_context(|| format!("failed to write {}", path.display()))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Machine { program, cores, processor, kernel, load_average, file_system, synced_appends, optimised, .. } =
            &self.machine;
        writeln!(
            formatter,
            "trunkline: {program}; {cores} cores, {processor}, Linux {kernel}, load {load_average} before the run; \
             {file_system}, {} synced 4 KiB appends/s",
            thousands(*synced_appends)
        )?;
        if !optimised {
            writeln!(formatter, "This harness was compiled without optimisation: speeds say nothing. Run it with --release.")?;
        }
        if !self.comparisons.is_empty() {
            writeln!(
                formatter,
                "\nAgainst a server that answers a constant; medians, with the lowest and highest in brackets\n"
            )?;
            let mut table = Table::new(&[
                "what",
                "clients",
                "constant/s",
                "trunkline/s",
                "p50 µs",
                "p99 µs",
                "cpu µs c/t",
                "others %",
                "deferred s",
                "ratio",
                "aim",
            ]);
            for comparison in &self.comparisons {
                table.push(comparison.cells());
            }
            table.fmt(formatter)?;
        }
        if !self.figures.is_empty() {
            writeln!(formatter, "\nFigures; medians, with the lowest and highest in brackets\n")?;
            let mut table = Table::new(&["what", "samples", "figure", "unit", "aim"]);
            for figure in &self.figures {
                table.push(figure.cells());
            }
            table.fmt(formatter)?;
        }
        for Failure { what, error } in &self.failures {
            writeln!(formatter, "\nnot measured: {what}: {error}")?;
        }
        Ok(())
    }
}

/// One measurement under load.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Requests answered while it counted.
    pub(crate) requests: u64,
    /// Requests answered in a second.
    pub(crate) rate: f64,
    /// Half of the answers came within this time.
    pub(crate) p50_us: f64,
    /// All but a hundredth of the answers came within this time.
    pub(crate) p99_us: f64,
    /// The slowest answer.
    pub(crate) max_us: f64,
    /// Processor time that the server used for a request.
    pub(crate) processor_us: f64,
    /// The share of all cores that went to neither the server nor the load meanwhile.
    pub(crate) others: f64,
}

/// The anchor and Trunkline, one after the other.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    /// The anchor.
    pub(crate) constant: Sample,
    /// The server under test.
    pub(crate) trunkline: Sample,
    /// Trunkline's rate divided by the anchor's.
    pub(crate) ratio: f64,
    /// Seconds of processor time that Trunkline used after the last answer.
    pub(crate) deferred_seconds: f64,
}

impl Round {
    /// A round with its ratio.
    pub(crate) fn new(constant: Sample, trunkline: Sample, deferred: Duration) -> Self {
        Self { ratio: trunkline.rate / constant.rate, deferred_seconds: deferred.as_secs_f64(), constant, trunkline }
    }
}

/// All rounds of one measurement against the anchor.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// What was sent.
    pub(crate) what: String,
    /// By how many.
    pub(crate) clients: u16,
    /// Requests a second of the anchor.
    pub(crate) constant_rate: Spread,
    /// Requests a second of Trunkline.
    pub(crate) trunkline_rate: Spread,
    /// The ratios of the rounds.
    pub(crate) ratio: Spread,
    /// What the ratio should be.
    pub(crate) aim: Option<Aim>,
    /// Whether its median is.
    pub(crate) met: Option<bool>,
    /// What all this was computed from.
    pub(crate) rounds: Vec<Round>,
}

impl Comparison {
    fn new(group: &'static str, what: &str, clients: u16, rounds: Vec<Round>, aim: Option<Aim>) -> Self {
        let spread = |part: fn(&Round) -> f64| Spread::of(rounds.iter().map(part));
        let ratio = spread(|round| round.ratio);
        Self {
            group,
            what: what.to_owned(),
            clients,
            constant_rate: spread(|round| round.constant.rate),
            trunkline_rate: spread(|round| round.trunkline.rate),
            ratio,
            aim,
            met: aim.map(|aim| aim.met(ratio.median)),
            rounds,
        }
    }

    fn cells(&self) -> Vec<String> {
        let others = Spread::of(self.rounds.iter().flat_map(|round| [round.constant.others, round.trunkline.others]));
        let median = |part: fn(&Round) -> f64| Spread::of(self.rounds.iter().map(part)).median;
        vec![
            format!("{} {}", self.group, self.what),
            self.clients.to_string(),
            self.constant_rate.show(thousands),
            self.trunkline_rate.show(thousands),
            thousands(median(|round| round.trunkline.p50_us)),
            thousands(median(|round| round.trunkline.p99_us)),
            format!("{:.1}/{:.1}", median(|round| round.constant.processor_us), median(|round| round.trunkline.processor_us)),
            format!("{:.0}", others.max * 100.0),
            format!("{:.2}", median(|round| round.deferred_seconds)),
            self.ratio.show(|ratio| format!("{ratio:.2}")),
            show_aim(self.aim, self.ratio.median),
        ]
    }
}

/// Something measured several times, with no anchor.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// What it is counted in.
    pub(crate) unit: &'static str,
    /// The samples in short.
    pub(crate) value: Spread,
    /// What it should be.
    pub(crate) aim: Option<Aim>,
    /// Whether its median is.
    pub(crate) met: Option<bool>,
    /// What was measured, in order.
    pub(crate) samples: Vec<f64>,
}

impl Figure {
    /// A figure with its median.
    pub(crate) fn new(group: &'static str, what: String, unit: &'static str, samples: Vec<f64>, aim: Option<Aim>) -> Self {
        let value = Spread::of(samples.iter().copied());
        Self { group, what, unit, value, aim, met: aim.map(|aim| aim.met(value.median)), samples }
    }

    fn cells(&self) -> Vec<String> {
        let show = |value: f64| if value < 1_000.0 { format!("{value:.1}") } else { thousands(value) };
        vec![
            format!("{} {}", self.group, self.what),
            self.samples.len().to_string(),
            self.value.show(show),
            self.unit.to_owned(),
            show_aim(self.aim, self.value.median),
        ]
    }
}

/// A measurement that could not be made.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// What was to be measured.
    pub(crate) what: String,
    /// Why it was not.
    pub(crate) error: String,
}

/// A median with what lies furthest from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) min: f64,
    /// The highest.
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one number.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let count = numbers.len();
        Self { median: f64::midpoint(numbers[(count - 1) / 2], numbers[count / 2]), min: numbers[0], max: numbers[count - 1] }
    }

    fn show(&self, show: impl Fn(f64) -> String) -> String {
        format!("{} ({}–{})", show(self.median), show(self.min), show(self.max))
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Aim {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

fn show_aim(aim: Option<Aim>, value: f64) -> String {
    let Some(aim) = aim else {
        return String::new();
    };
    let verdict = if aim.met(value) { "met" } else { "missed" };
    match aim {
        Aim::AtLeast(bound) => format!("≥ {bound} {verdict}"),
        Aim::AtMost(bound) => format!("≤ {bound} {verdict}"),
    }
}

/// A whole number with its thousands apart.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Cells in aligned columns, the first to the left and the others to the right.
#[derive(Debug)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..self.rows[0].len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(line, "{cell:<width$}")?,
                    _ => write!(line, "  {cell:>width$}")?,
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median_and_both_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn numbers_are_grouped_in_threes() {
        for (number, expected) in [(0.4, "0"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(thousands(number), expected);
        }
    }

    #[test]
    fn an_aim_is_shown_with_its_verdict() {
        assert_eq!(show_aim(Some(Aim::AtLeast(0.5)), 0.5), "≥ 0.5 met");
        assert_eq!(show_aim(Some(Aim::AtMost(20.0)), 20.1), "≤ 20 missed");
        assert_eq!(show_aim(None, 1.0), "");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["what", "µs"]);
        table.push(vec!["rest".to_owned(), "1,234".to_owned()]);
        table.push(vec!["ingest".to_owned(), "9".to_owned()]);
        assert_eq!(table.to_string(), "what       µs\nrest    1,234\ningest      9\n");
    }
}
