//! Whether our rows fit into the tables that are there.

/// A table that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Of Rasa's broker.
    Events,
    /// Ours, in the same database so that one transaction covers both.
    Cursors,
}

/// What is found under the name of a table.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) table: Table,
    /// What it is, when it is no table.
    pub(super) other_than_table: Option<&'static str>,
    /// Its storage engine, when that has no transactions.
    pub(super) engine_without_transactions: Option<String>,
    pub(super) columns: Vec<Column>,
}

/// A column as the database describes it.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) is_not_null: bool,
    /// Whether it has a value when none is given.
    pub(super) fills_itself: bool,
    pub(super) is_primary_key: bool,
    pub(super) sort: Sort,
}

/// What a column holds, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Integer,
    Text,
    Other,
}

/// A sentence when our rows do not fit into one of those found; `expected` gives the tables that would be created.
pub(super) fn objection(found: &[Found], expected: impl Fn(Table) -> &'static str) -> Option<String> {
    found.iter().find_map(|found| found.objection(expected(found.table)))
}

impl Table {
    pub(super) const ALL: [Self; 2] = [Self::Events, Self::Cursors];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Cursors => "trunkline_cursors",
        }
    }

    fn columns(self) -> &'static [(&'static str, Sort)] {
        match self {
            Self::Events => &[("id", Sort::Integer), ("sender_id", Sort::Text), ("data", Sort::Text)],
            Self::Cursors => {
                &[("journal", Sort::Text), ("subscription", Sort::Text), ("next_offset", Sort::Integer), ("writer", Sort::Text)]
            }
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Events => {
                "Rasa's SQL tracker store has a table of the same name, so give the event broker a database of its own"
            }
            Self::Cursors => "it is Trunkline's own: drop it, and it is made anew",
        }
    }
}

impl Found {
    /// Columns that somebody added are welcome as long as they can be left out, as they are with the original.
    fn objection(&self, expected: &str) -> Option<String> {
        let name = self.table.name();
        if let Some(kind) = self.other_than_table {
            return Some(format!("`{name}` is a {kind}, where a table {expected} is expected"));
        }
        if !(self.has_columns() && self.has_key()) {
            let found: Vec<String> = self.columns.iter().map(Column::describe).collect();
            let (found, advice) = (found.join(", "), self.table.advice());
            return Some(format!("the table found is {name} ({found}), expected is {expected}; {advice}"));
        }
        self.engine_without_transactions.as_ref().map(|engine| {
            format!(
                "the table `{name}` has the storage engine {engine}, which has no transactions; convert it with `ALTER TABLE \
                 {name} ENGINE = InnoDB`"
            )
        })
    }

    fn has_columns(&self) -> bool {
        let ours = self.table.columns();
        ours.iter().all(|(name, sort)| self.column(name).is_some_and(|column| column.sort == *sort))
            && self
                .columns
                .iter()
                .all(|column| ours.iter().any(|(name, _)| column.is_called(name)) || !column.is_not_null || column.fills_itself)
    }

    fn has_key(&self) -> bool {
        match self.table {
            Table::Events => self.column("id").is_some_and(|id| id.is_primary_key && id.fills_itself),
            // A cursor of which there are two is none.
            Table::Cursors => self
                .columns
                .iter()
                .all(|column| column.is_primary_key == ["journal", "subscription"].iter().any(|name| column.is_called(name))),
        }
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.is_called(name))
    }
}

impl Column {
    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn describe(&self) -> String {
        let constraint = match (self.is_primary_key, self.is_not_null) {
            (true, _) => " PRIMARY KEY",
            (false, true) => " NOT NULL",
            (false, false) => "",
        };
        format!("{} {}{constraint}", self.name, self.kind)
    }
}
