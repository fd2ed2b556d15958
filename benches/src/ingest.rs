//! Durable ingest: one tracker event in each `POST /api/events`.

use crate::{
    Bench,
    compare::Case,
    load::Expect,
    report::{Aim, Report},
    request::{Template, user_event},
};

/// Where events are posted.
pub(crate) const PATH: &str = "/api/events";
/// The size of the event that the aim is stated for.
pub(crate) const USUAL_SIZE: usize = 520;

/// Measures every size with every number of clients.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    for (size, what) in [(USUAL_SIZE, "520 B"), (4_096, "4 KiB")] {
        for &clients in &bench.clients {
            let case = Case {
                group: "ingest",
                what: what.to_owned(),
                clients,
                template: Template::post(PATH, &user_event(size)),
                expect: Expect::Accepted,
                aim: (size == USUAL_SIZE && clients == 64).then_some(Aim::AtLeast(0.5)),
            };
            case.measure(bench, report).await;
        }
    }
}
