//! A table of adapters of one sort.

use trunkline_config::closest;

/// A row: what is known of one kind of adapter.
pub trait Spec {
    /// The kind as files name it, in lower case.
    fn kind(&self) -> &str;

    /// A description for people.
    fn summary(&self) -> &str;

    /// Whether one can be made; otherwise it is only known.
    fn is_built_in(&self) -> bool;

    /// Another name under which it stands in files, exactly as it is: the class that it has in Rasa.
    fn class(&self) -> Option<&str> {
        None
    }

    /// The feature of cargo that brings it, when it is not in every build.
    fn feature(&self) -> Option<&str> {
        None
    }
}

/// All kinds of one sort of adapter that a program knows, sorted: ours, and those that its author adds.
#[derive(Clone, Debug)]
pub struct Table<S> {
    noun: &'static str,
    rows: Vec<S>,
}

impl<S: Spec> Table<S> {
    /// A table of `rows`. `noun` is what a row is called: `broker type`.
    pub fn new(noun: &'static str, rows: impl IntoIterator<Item = S>) -> Self {
        rows.into_iter().fold(Self { noun, rows: Vec::new() }, Self::with)
    }

    /// The same table and one row more. It takes the place of one of the same kind.
    #[must_use]
    pub fn with(mut self, row: S) -> Self {
        match self.rows.binary_search_by(|other| other.kind().cmp(row.kind())) {
            Ok(at) => self.rows[at] = row,
            Err(at) => self.rows.insert(at, row),
        }
        self
    }

    /// The rows, sorted by kind.
    pub fn rows(&self) -> &[S] {
        &self.rows
    }

    /// The row for what is written in a file: a kind in upper or lower case, or exactly the class that it has in Rasa.
    pub fn find(&self, written: &str) -> Result<&S, Unknown> {
        self.find_where(written, |row| row.kind().eq_ignore_ascii_case(written) || row.class() == Some(written))
    }

    /// The row whose kind is written exactly so.
    pub fn find_exactly(&self, written: &str) -> Result<&S, Unknown> {
        self.find_where(written, |row| row.kind() == written)
    }

    fn find_where(&self, written: &str, is_it: impl Fn(&S) -> bool) -> Result<&S, Unknown> {
        self.rows.iter().find(|row| is_it(row)).ok_or_else(|| Unknown {
            noun: self.noun,
            written: written.to_owned(),
            nearest: closest(written, self.rows.iter().map(Spec::kind)).map(ToOwned::to_owned),
            built_in: self.built_in(),
        })
    }

    /// The answer to a person who asks for a kind that is known and not built in.
    pub fn not_built_in(&self, row: &S) -> String {
        let (noun, kind) = (self.noun, row.kind());
        match row.feature() {
            Some(feature) => format!(
                "{noun} `{kind}` is not in this build of Trunkline; build it with `cargo build --release --features {feature}`"
            ),
            None => format!("{noun} `{kind}` is not built in yet; built in: {}", self.built_in()),
        }
    }

    /// The kinds that are built in, for a person; empty when there are none.
    pub fn built_in(&self) -> String {
        let kinds: Vec<&str> = self.rows.iter().filter(|row| row.is_built_in()).map(Spec::kind).collect();
        kinds.join(", ")
    }
}

/// No row of the table has the name that stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {noun} `{written}`{}", self.suggestion())]
pub struct Unknown {
    noun: &'static str,
    /// As it was written.
    pub written: String,
    /// The kind that was probably meant.
    pub nearest: Option<String>,
    /// The kinds there are, for a person.
    pub built_in: String,
}

impl Unknown {
    fn suggestion(&self) -> String {
        match &self.nearest {
            Some(nearest) => format!("; did you mean `{nearest}`?"),
            None => format!("; built in: {}", self.built_in),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Row {
        kind: &'static str,
        summary: &'static str,
        is_built_in: bool,
        class: Option<&'static str>,
        feature: Option<&'static str>,
    }

    impl Spec for Row {
        fn kind(&self) -> &str {
            self.kind
        }

        fn summary(&self) -> &str {
            self.summary
        }

        fn is_built_in(&self) -> bool {
            self.is_built_in
        }

        fn class(&self) -> Option<&str> {
            self.class
        }

        fn feature(&self) -> Option<&str> {
            self.feature
        }
    }

    fn row(kind: &'static str) -> Row {
        Row { kind, summary: "", is_built_in: true, class: None, feature: None }
    }

    fn table() -> Table<Row> {
        let kafka = Row { is_built_in: false, class: Some("a.b.Kafka"), feature: Some("kafka"), ..row("kafka") };
        Table::new("broker type", [row("sql"), kafka, row("file"), Row { is_built_in: false, ..row("pulsar") }])
    }

    #[test]
    fn rows_are_sorted_and_one_of_the_same_kind_takes_the_place() {
        let table = table().with(row("exec")).with(Row { summary: "another", ..row("sql") });
        let kinds: Vec<_> = table.rows().iter().map(Spec::kind).collect();
        assert_eq!(kinds, ["exec", "file", "kafka", "pulsar", "sql"]);
        assert_eq!(table.find("sql").map(Spec::summary), Ok("another"));
    }

    #[test]
    fn kinds_are_found_in_any_case_and_classes_exactly() {
        let table = table();
        for (written, kind) in [("SQL", "sql"), ("File", "file"), ("a.b.Kafka", "kafka")] {
            assert_eq!(table.find(written).unwrap().kind, kind, "{written}");
        }
        assert!(table.find("A.b.Kafka").is_err());
        assert!(
            table.find_exactly("sql").is_ok() && table.find_exactly("SQL").is_err() && table.find_exactly("a.b.Kafka").is_err()
        );
    }

    #[test]
    fn what_is_not_there_is_answered_by_name() {
        let table = table();
        let said = |written: &str| table.find(written).unwrap_err().to_string();
        assert_eq!(said("kafak"), "unknown broker type `kafak`; did you mean `kafka`?");
        assert_eq!(said("carrier-pigeon"), "unknown broker type `carrier-pigeon`; built in: file, sql");
        let not_there = |kind: &str| table.not_built_in(table.find(kind).unwrap());
        assert_eq!(
            not_there("kafka"),
            "broker type `kafka` is not in this build of Trunkline; build it with `cargo build --release --features kafka`"
        );
        assert_eq!(not_there("pulsar"), "broker type `pulsar` is not built in yet; built in: file, sql");
    }
}
