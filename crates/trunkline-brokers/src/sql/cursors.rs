//! What is said about a cursor that is not where we left it.

use std::fmt;

use tracing::error;
use trunkline_core::{CursorKey, Offset, Outcome};

/// The database has lost rows: the cursor stood at `was`, and stands at `is`.
pub(super) fn behind(place: impl fmt::Display, key: &CursorKey, was: Option<Offset>, is: Option<Offset>) -> Outcome {
    let (was, is) = (was.unwrap_or_default(), is.unwrap_or_default());
    let subscription = &key.subscription;
    Outcome::Behind {
        reason: format!(
            "{place} has lost rows that it had confirmed: the cursor of the subscription `{subscription}` stood at offset {was} \
             and went back to offset {is}; was an older state restored, or is this a standby that was behind?"
        ),
    }
}

/// The cursor stood at `was` and is not there any more. Nobody can say what else is missing; what comes is published all the same.
pub(super) fn report_gone(place: impl fmt::Display, key: &CursorKey, was: Option<Offset>) {
    error!(
        %place,
        subscription = %key.subscription,
        was,
        "Cursor in the database is gone; if rows are missing as well, `trunkline export` publishes them again"
    );
}

pub(super) fn moved_by_another(key: &CursorKey) -> String {
    format!(
        "the cursor of the subscription `{}` is being moved by somebody else; is a second gateway running with a copy of the same \
         journal? stop it, or give the broker another `name` there, and start this gateway anew",
        key.subscription
    )
}
