//! Whether our rows fit into the table that is there.

/// What is called `events` in a database.
#[derive(Debug)]
pub(super) struct Found {
    /// What it is, when it is no table.
    pub(super) other_than_table: Option<&'static str>,
    pub(super) columns: Vec<Column>,
}

/// A column as the server describes it.
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

impl Found {
    /// A sentence when our rows do not fit into it; `expected` is the table that Rasa's broker creates.
    ///
    /// Columns that somebody added are welcome as long as they can be left out, as they are with the original.
    pub(super) fn objection(&self, expected: &str) -> Option<String> {
        if let Some(kind) = self.other_than_table {
            return Some(format!("`events` is a {kind}, where a table {expected} is expected"));
        }
        let column = |name: &str| self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        let fits = column("id").is_some_and(|id| id.is_primary_key && id.sort == Sort::Integer && id.fills_itself)
            && column("sender_id").is_some_and(|sender_id| sender_id.sort == Sort::Text)
            && column("data").is_some_and(|data| data.sort == Sort::Text)
            && self.columns.iter().all(|column| {
                ["id", "sender_id", "data"].iter().any(|ours| column.name.eq_ignore_ascii_case(ours))
                    || !column.is_not_null
                    || column.fills_itself
            });
        if fits {
            return None;
        }
        let found: Vec<String> = self.columns.iter().map(Column::describe).collect();
        Some(format!(
            "the table found is events ({}), expected is {expected}; Rasa's SQL tracker store has a table of the same name, so \
             give the event broker a database of its own",
            found.join(", ")
        ))
    }
}

impl Column {
    fn describe(&self) -> String {
        let constraint = match (self.is_primary_key, self.is_not_null) {
            (true, _) => " PRIMARY KEY",
            (false, true) => " NOT NULL",
            (false, false) => "",
        };
        format!("{} {}{constraint}", self.name, self.kind)
    }
}
